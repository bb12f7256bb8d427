"""`silorec serve`: arguments -> the silo's own recommendations, until it is ended."""

from __future__ import annotations

import argparse
import hashlib
from functools import partial
from pathlib import Path

from data_contracts.errors import ConfigError
from data_contracts.settings.serving import ServingConfig
from flows.cli_options import add_setting_flags, serving_config_from

SHORTEST_TOKEN = 16


def add_serving_command(parser: argparse.ArgumentParser) -> None:
    """The arguments of `silorec serve`."""
    parser.usage = f"{parser.prog} [FILE] --silo NAME [--SECTION.KEY VALUE ...]"
    parser.add_argument("config", nargs="?", metavar="FILE", help="YAML configuration")
    add_setting_flags(parser, ServingConfig)


def serve_recommendations(arguments: argparse.Namespace) -> None:
    """`silorec serve`.

    Raises:
        SilorecError: there is nothing to serve, or it cannot be served here.
    """
    config = serving_config_from(arguments)
    token = token_hash(config.token_file)
    from flows.serving import application, source_of
    from tasks.serving.actor import served_by_ray, told_to_end

    print(f"Loading {config.model_version} for silo {config.silo}", flush=True)
    # Here, too, so that a mistake is one sentence and not one in every replica.
    source = source_of(config)
    served = source.load(source.wanted(), source.people())
    build = partial(application, config, token)
    with told_to_end() as wait, served_by_ray(config, build) as address:
        print(
            f"Model {served.model.sha256[:12]} of run {served.model.run_id} answers at "
            f"{address}/recommend ({address}/docs tells how). Ctrl-C ends it.",
            flush=True,
        )
        wait()


def token_hash(path: str | None) -> str | None:
    """SHA-256 of the token in a file, which alone is handed on; None without a file.

    Raises:
        ConfigError: the file cannot be read, or the token is short.
    """
    if path is None:
        return None
    try:
        token = Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"token_file {path} cannot be read ({type(error).__name__})"
        ) from None
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"the token in {path} has {len(token)} letters; use at least "
            f"{SHORTEST_TOKEN}, for example of `openssl rand -hex 32`"
        )
    return hashlib.sha256(token.encode()).hexdigest()

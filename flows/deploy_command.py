"""`silorec deploy`: register the deployments on a Prefect server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from data_contracts.errors import UsageError
from data_contracts.run_config import parse_config, read_config_file
from flows.deployments import EXAMPLE, WORK_POOL, Plan, chosen

Command = Callable[[argparse.Namespace], None]
AddCommand = Callable[[str, Command, str], argparse.ArgumentParser]

WEBHOOK_VARIABLE = "SILOREC_WEBHOOK_URL"
UNAUTHORIZED = 401


def add_deploy_command(add: AddCommand) -> None:
    """The arguments.

    Args:
        add: makes a command of a name, what it calls, and what it does in words.
    """
    deploy = add("deploy", deploy_flows, "register the flows on a Prefect server")
    deploy.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="YAML configuration of the federation, which forms are filled with; left "
        "out: the preset ml-100k",
    )
    deploy.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="this deployment only; may be given several times",
    )
    deploy.add_argument(
        "--work-pool",
        default=WORK_POOL,
        metavar="POOL",
        help="pool of process workers, made if there is none (default: %(default)s)",
    )
    deploy.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="where workers start runs, and relative paths count from (default: the "
        "folder of this command)",
    )
    deploy.add_argument(
        "--cron",
        metavar="TIMES",
        help="start times of the one deployment that --only names; an empty text: none",
    )
    instead = deploy.add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="only tell what would be done"
    )
    instead.add_argument(
        "--prefect-yaml",
        action="store_true",
        help="print the same deployments for `prefect deploy`",
    )


def deploy_flows(arguments: argparse.Namespace) -> None:
    """`silorec deploy`.

    Raises:
        UsageError: arguments that do not go together, or no server is named.
        ConfigError: one sentence per mistake in the configuration.
    """
    if arguments.prefect_yaml:
        from flows.prefect_yaml import prefect_yaml

        print(prefect_yaml(), end="")
        return
    if arguments.cron is not None:
        _check_times(arguments.cron, arguments.only)
    entries, tree = chosen(arguments.only), EXAMPLE
    if arguments.config is not None:
        tree = read_config_file(arguments.config)
        parse_config(tree, origin=str(arguments.config))
    # Imported late: `--help` needs no Prefect.
    from prefect.settings import get_current_settings

    api = get_current_settings().api.url
    if api is None:
        raise UsageError(
            "no Prefect server is named: set PREFECT_API_URL, for example to "
            "http://127.0.0.1:4200/api"
        )
    plan = Plan(
        federation=parse_config(tree, origin="configuration").name,
        training=tree,
        entries=entries,
        work_pool=arguments.work_pool,
        folder=str(arguments.folder.expanduser().resolve()),
        cron={entries[0].name: arguments.cron} if arguments.cron is not None else {},
        webhook=os.environ.get(WEBHOOK_VARIABLE, ""),
    )
    print(f"Prefect server {api}" + (" (nothing is changed)" * arguments.dry_run))
    _register(plan, dry_run=arguments.dry_run, api=api)


def _check_times(cron: str, only: Sequence[str]) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    if len(only) != 1:
        raise UsageError("--cron needs --only with the one deployment it is for")
    try:
        if cron:
            CronSchedule(cron=cron)
    except ValueError:
        raise UsageError(
            f"--cron {cron!r} is no time; give minute, hour, day, month and weekday, "
            "for example '0 3 * * 0'"
        ) from None


def _register(plan: Plan, *, dry_run: bool, api: str) -> None:
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    from flows.registration import register

    try:
        for change in register(plan, dry_run=dry_run):
            print(change)
    except httpx.TransportError as error:
        raise UsageError(
            f"the Prefect server at {api} does not answer ({type(error).__name__}); "
            "start it, or correct PREFECT_API_URL"
        ) from None
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        hint = "; set PREFECT_API_AUTH_STRING" if status == UNAUTHORIZED else ""
        raise UsageError(
            f"the Prefect server at {api} refuses with status {status}{hint}"
        ) from None

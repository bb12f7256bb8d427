"""Command-line flags and the example file, both made from the configuration model.

A setting `local_training.epochs` is the flag `--local-training.epochs` and the key
`epochs` of the section `local_training`; its help is the field's description.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from data_contracts.errors import ConfigError
from data_contracts.presets import PRESETS, Tree, merged
from data_contracts.run_config import (
    FederatedTrainingConfig,
    explain,
    parse_config,
    read_config_file,
)
from data_contracts.settings.audit import PrivacyAuditConfig, parse_audit_config
from data_contracts.settings.recommendation import (
    BatchRecommendationConfig,
    parse_recommendation_config,
)
from data_contracts.settings.serving import ServingConfig, parse_serving_config
from data_contracts.tabular import TabularTrainingConfig

FLAG_PREFIX = "setting:"
TEXTS = (str, str | None)


def settings_of(
    model: type[BaseModel] = FederatedTrainingConfig, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """(path, field) of every single setting, depth first; lists are one setting."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from settings_of(section, (*path, name))
        else:
            yield (*path, name), field


def add_setting_flags(
    parser: argparse.ArgumentParser,
    model: type[BaseModel] = FederatedTrainingConfig,
    within: tuple[str, ...] = (),
) -> None:
    """One flag per setting, grouped by section; `within`: the section of `model`."""
    groups: dict[str, Any] = {}
    for path, field in settings_of(model, within):
        title = ".".join(path[:-1]) or "run"
        group = groups.setdefault(title, parser.add_argument_group(title))
        group.add_argument(
            "--" + ".".join(path).replace("_", "-"),
            dest=FLAG_PREFIX + ".".join(path),
            type=_text if field.annotation in TEXTS else _parsed,
            metavar=_metavar(field),
            help=_help(field).replace("%", "%%"),
        )


def config_from(arguments: argparse.Namespace) -> FederatedTrainingConfig:
    """Preset, then file, then flags: the later wins, setting by setting.

    Raises:
        ConfigError: one sentence per mistake.
    """
    preset = PRESETS[arguments.dataset] if arguments.dataset else {}
    tree, origin = _tree_and_origin(arguments)
    return parse_config(merged(preset, tree), origin=origin)


def audit_config_from(arguments: argparse.Namespace) -> PrivacyAuditConfig:
    """File, then flags: the later wins, setting by setting.

    Raises:
        ConfigError: one sentence per mistake.
    """
    tree, origin = _tree_and_origin(arguments)
    return parse_audit_config(tree, origin=origin)


def recommendation_config_from(
    arguments: argparse.Namespace,
) -> BatchRecommendationConfig:
    """File, then flags: the later wins, setting by setting.

    Raises:
        ConfigError: one sentence per mistake.
    """
    tree, origin = _tree_and_origin(arguments)
    return parse_recommendation_config(tree, origin=origin)


def serving_config_from(arguments: argparse.Namespace) -> ServingConfig:
    """File, then flags: the later wins, setting by setting.

    Raises:
        ConfigError: one sentence per mistake.
    """
    tree, origin = _tree_and_origin(arguments)
    return parse_serving_config(tree, origin=origin)


def example_config_from(arguments: argparse.Namespace) -> TabularTrainingConfig:
    """Flags alone; a worked example has no file and no data set.

    Raises:
        ConfigError: one sentence per mistake.
    """
    if arguments.dataset or arguments.config:
        raise ConfigError(
            "--example makes its own rows: leave out FILE and --dataset, or --example"
        )
    tree = merged(_given_flags(arguments), {"example": arguments.example})
    try:
        return TabularTrainingConfig.model_validate(tree)
    except ValidationError as error:
        origin = f"example {arguments.example}"
        raise ConfigError("\n".join(explain(error, origin))) from None


def _tree_and_origin(arguments: argparse.Namespace) -> tuple[Tree, str]:
    """What file and flags say, and how to call them in a message."""
    flags = _given_flags(arguments)
    if not arguments.config:
        return flags, "command line"
    origin = f"{arguments.config} with flags" if flags else arguments.config
    return merged(read_config_file(Path(arguments.config)), flags), origin


def _given_flags(arguments: argparse.Namespace) -> Tree:
    tree: Tree = {}
    for name, text in vars(arguments).items():
        if name.startswith(FLAG_PREFIX) and text is not None:
            value: Any = text
            for key in reversed(name.removeprefix(FLAG_PREFIX).split(".")):
                value = {key: value}
            tree = merged(tree, value)
    return tree


def _text(text: str) -> str | None:
    """A name or hash stays as it is, though it may look like a number."""
    return None if text == "null" else text


def _parsed(text: str) -> Any:
    """A flag's value is YAML, as it would stand in the file."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def example_file(preset: str) -> str:
    """A commented YAML file with every setting; the preset's are active.

    Settings at their default are commented out, so that a file says what it decides.
    """
    chosen = PRESETS[preset]
    lines = [
        "# silorec run configuration. Every setting there is, with its default;",
        f"# what is not commented out comes from the preset {preset}.",
        "# Check it with `silorec check FILE`, run it with `silorec train FILE`.",
    ]
    section: tuple[str, ...] = ()
    for path, field in settings_of():
        for depth, name in enumerate(path[:-1]):
            if path[: depth + 1] != section[: depth + 1]:
                active = _lookup(chosen, path[: depth + 1]) is not None
                lines += ["", f"{'  ' * depth}{'' if active else '# '}{name}:"]
        section = path[:-1]
        indent = "  " * len(section)
        value = _lookup(chosen, path)
        mark = "# " if value is None else ""
        shown = _default(field) if mark else _shown(value)
        lines.append(f"{indent}# {field.description}")
        if isinstance(value, list):
            lines += [f"{indent}{path[-1]}:", _block(value, len(indent) + 2)]
        else:
            lines.append(f"{indent}{mark}{path[-1]}: {shown}")
    return "\n".join(lines) + "\n"


def _lookup(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def _shown(value: object) -> str:
    if value is None:
        return "null"
    text = yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value,
        default_flow_style=True,
        width=10_000,
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _metavar(field: FieldInfo) -> str:
    choices = [str(choice) for choice in get_args(field.annotation)]
    if choices and all(isinstance(c, str) for c in get_args(field.annotation)):
        return "{" + ",".join(choices) + "}"
    return getattr(field.annotation, "__name__", "VALUE").upper()


def _help(field: FieldInfo) -> str:
    if field.is_required():
        return f"{field.description} Must be given."
    return f"{field.description} Default: {_default(field)}."


def _default(field: FieldInfo) -> str:
    return _shown(field.get_default(call_default_factory=True))


def _block(value: list[Any], indent: int) -> str:
    text = yaml.safe_dump(value, sort_keys=False).rstrip("\n")
    return textwrap.indent(text, " " * indent)

"""`silorec models`: which model is in use, and putting another one there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from data_contracts.errors import NotRecordedError
from data_contracts.records import Decider, Stage

if TYPE_CHECKING:
    from data_contracts.records import ModelVersionRecord
    from tasks.lineage.registry import Registry
    from tasks.lineage.store import LineageStore

Command = Callable[[argparse.Namespace], None]
Subcommands = argparse._SubParsersAction
AddCommand = Callable[..., argparse.ArgumentParser]


def add_models_commands(
    commands: Subcommands[argparse.ArgumentParser],
    add: AddCommand,
    add_output_folder: Callable[[argparse.ArgumentParser], None],
) -> None:
    """The commands and their arguments.

    Args:
        commands: of `silorec`.
        add: makes a command of a parent, a name, what it calls, and what it does.
        add_output_folder: adds that flag.
    """
    models = add(commands, "models", None, "which model is in use, and which was")
    matters = models.add_subparsers(required=True, metavar="MATTER")
    listed = add(matters, "list", list_stages, "published models and their stages")
    promote = add(matters, "promote", promote_model, "put a model into use")
    rollback = add(matters, "rollback", roll_back, "put the previous one back into use")
    diff = add(matters, "diff", show_difference, "what changed between two models")
    card = add(matters, "card", show_card, "the card of a model, as Markdown")
    sign = add(matters, "sign", sign_again, "write card and signature of a model again")
    key = add(matters, "publisher", show_publisher, "print the publisher's public key")
    add_output_folder(key)
    for parser in (card, sign):
        parser.add_argument("model", help="champion, model hash or run id")
    promote.add_argument("model", help="model hash, run id, or the beginning of one")
    for parser in (promote, rollback):
        parser.add_argument("--reason", default="", help="one sentence for the record")
    diff.add_argument("new", help="model hash, run id, or the beginning of one")
    diff.add_argument(
        "old", nargs="?", default="champion", help="default: the champion"
    )
    for parser in (listed, diff):
        parser.add_argument("--json", action="store_true", help="print JSON")
    for parser in (listed, promote, rollback, diff, card, sign):
        parser.add_argument(
            "--federation",
            metavar="NAME",
            help="name of the runs; left out: the only one there is",
        )
        add_output_folder(parser)


def list_stages(arguments: argparse.Namespace) -> None:
    """`silorec models list`."""
    from data_contracts.records import RetrainingRecord
    from tasks.lineage import registry_rendering as rendering

    store, registry = _registry(arguments)
    retrainings = [
        row
        for row in store.read(RetrainingRecord)
        if row.federation == registry.federation
    ]
    if arguments.json:
        print(json.dumps(rendering.registry_json(registry, retrainings), indent=2))
    else:
        Console().print(rendering.registry_view(registry, retrainings))


def promote_model(arguments: argparse.Namespace) -> None:
    """`silorec models promote`."""
    _, registry = _registry(arguments)
    version = registry.find(arguments.model)
    _move(arguments, version.sha256, arguments.reason or "promoted by hand")


def roll_back(arguments: argparse.Namespace) -> None:
    """`silorec models rollback`.

    Raises:
        NotRecordedError: no model was in use before.
    """
    _, registry = _registry(arguments)
    before = registry.previous_champion
    if before is None:
        raise NotRecordedError(
            f"{registry.federation} has no earlier champion to go back to; `silorec "
            "models promote` puts any published model into use"
        )
    why = arguments.reason or "rolled back by hand"
    _move(arguments, before.sha256, why, leaving=Stage.REJECTED)


def show_difference(arguments: argparse.Namespace) -> None:
    """`silorec models diff`."""
    from tasks.lineage import registry_rendering as rendering
    from tasks.lineage.model_difference import difference

    store, registry = _registry(arguments)
    old, new = registry.find(arguments.old), registry.find(arguments.new)
    found = difference(store, old, new)
    if arguments.json:
        print(json.dumps(rendering.difference_json(found), indent=2))
    else:
        Console().print(rendering.difference_view(found))


def show_card(arguments: argparse.Namespace) -> None:
    """`silorec models card`."""
    print(_card(arguments)[1], end="")


def sign_again(arguments: argparse.Namespace) -> None:
    """`silorec models sign`."""
    from tasks.lineage.signatures import sign_model

    version, card = _card(arguments)
    print(sign_model(_folder(arguments), version, card))


def show_publisher(arguments: argparse.Namespace) -> None:
    """`silorec models publisher`."""
    from tasks.lineage.signatures import publisher

    print(publisher(_folder(arguments)))


def _card(arguments: argparse.Namespace) -> tuple[ModelVersionRecord, str]:
    from tasks.lineage.model_card import model_card
    from tasks.lineage.queries import history

    store, registry = _registry(arguments)
    version = registry.find(arguments.model)
    return version, model_card(history(store, version.run_id), version)


def _move(
    arguments: argparse.Namespace,
    sha256: str,
    why: str,
    leaving: Stage = Stage.RETIRED,
) -> None:
    from tasks.lineage.registry import set_stage

    store, registry = _registry(arguments)
    before = registry.champion
    set_stage(
        store,
        registry.federation,
        registry.by_sha256[sha256],
        Stage.CHAMPION,
        decided_by=Decider.PERSON,
        sentence=why,
        leaving=leaving,
    )
    instead = f" in place of {before.sha256[:12]}" if before else ""
    print(f"{sha256[:12]} is the champion of {registry.federation} now{instead}")


def _folder(arguments: argparse.Namespace) -> Path:
    return Path(arguments.output_folder).expanduser().resolve()


def _registry(arguments: argparse.Namespace) -> tuple[LineageStore, Registry]:
    from tasks.lineage.registry import only_federation, read_registry
    from tasks.lineage.store import open_store

    store = open_store(str(_folder(arguments)))
    federation = only_federation(store, arguments.federation)
    return store, read_registry(store, federation)

"""A replay for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from data_contracts.replay import Replay, RoundReplay

_UPDATES = {True: "same update", False: "another update", None: "cannot tell"}


def replay_table(found: Replay) -> RenderableType:
    """`silorec replay`: recorded beside computed again, and what each silo says."""
    table = Table("round", "", "recorded", "computed again", box=None, pad_edge=False)
    for one in found.rounds:
        for name, recorded, replayed in _figures(one):
            table.add_row(str(one.round_number), name, recorded, replayed)
        for silo, same in one.silos.items():
            table.add_row(str(one.round_number), f"silo {silo}", "", _UPDATES[same])
    cautions = [Text(sentence, style="yellow") for sentence in found.cautions]
    verdicts = [
        Text(one.sentence(), style="green" if one.equal else "bold red")
        for one in found.rounds
    ]
    return Group(table, *cautions, *verdicts)


def _figures(one: RoundReplay) -> list[tuple[str, str, str]]:
    recorded = one.recorded_sha256[:12] or "rejected"
    return [
        ("model", recorded, one.replayed_sha256[:12]),
        ("loss", repr(one.recorded_loss), repr(one.replayed_loss)),
        ("norm of update", repr(one.recorded_norm), repr(one.replayed_norm)),
    ]

"""The table of kill points in `infra/docs/resilience.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.kill_points import POINTS

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


@dataclass(frozen=True)
class End:
    """What became of a run.

    Attributes:
        at_once: what the process did when the point struck.
        resumed: what `silorec resume` came to.
        identical: models, metrics and decisions are those of the undisturbed run.
    """

    at_once: str
    resumed: str
    identical: bool


PLAYED: dict[str, End] = {}
"""Filled by the tests, in any order."""


def table_of(played: Mapping[str, End], text: str) -> str:
    """One line per point, in the order of a run; of points not played, the old one."""
    lines = [
        "| who is killed | when | the command | `silorec resume RUN` | same bytes |",
        "|---|---|---|---|---|",
    ]
    for name in POINTS:
        victim, _, when = name.partition(": ")
        begins = f"| {victim} | {when} |"
        if end := played.get(name):
            same = "yes" if end.identical else "no"
            lines.append(f"{begins} {end.at_once} | {end.resumed} | {same} |")
        else:
            lines += [line for line in text.splitlines() if line.startswith(begins)]
    return "\n".join(lines)


def with_table(played: Mapping[str, End], text: str) -> str:
    """The document with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table_of(played, text)}\n{END}{after}"

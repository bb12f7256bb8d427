"""The tables of kill points and other faults in `infra/docs/resilience.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.faults import FAULTS
from tests.chaos.kill_points import POINTS


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
FAULTS_PLAYED: dict[str, End] = {}
"""Filled by the tests, in any order."""


@dataclass(frozen=True)
class Table:
    """One of the tables of the document.

    Attributes:
        mark: in the comments around it.
        head: of its columns.
        names: of its rows, each with the cells that it begins with.
        played: what became of them.
    """

    mark: str
    head: str
    names: Mapping[str, tuple[str, ...]]
    played: Mapping[str, End]

    def lines(self, text: str) -> list[str]:
        """One per row, in their order; of rows not played, the old one."""
        lines = [self.head, "|---" * (self.head.count("|") - 1) + "|"]
        for name, cells in self.names.items():
            begins = f"| {' | '.join(cells)} |"
            if end := self.played.get(name):
                same = "yes" if end.identical else "no"
                lines.append(f"{begins} {end.at_once} | {end.resumed} | {same} |")
            else:
                lines += [line for line in text.splitlines() if line.startswith(begins)]
        return lines

    def put_into(self, text: str) -> str:
        """The document with the table in its place."""
        begin, end = f"<!-- {self.mark}: begin -->", f"<!-- {self.mark}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        return "\n".join([before + begin, *self.lines(text), end + after])


_ENDS = "the command | `silorec resume RUN` | same bytes |"
TABLES = (
    Table(
        "table",
        f"| who is killed | when | {_ENDS}",
        {name: tuple(name.split(": ", 1)) for name in POINTS},
        PLAYED,
    ),
    Table(
        "faults", f"| fault | {_ENDS}", {name: (name,) for name in FAULTS},
        FAULTS_PLAYED,
    ),
)  # fmt: skip


def with_tables(text: str) -> str:
    """The document with all tables in their places."""
    for table in TABLES:
        text = table.put_into(text)
    return text

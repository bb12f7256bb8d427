"""What `silorec doctor` finds, and what maintenance did: no data value in either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from data_contracts.errors import LineageError, SilorecError

MAX_PASSES = 8
"""A log that can be read again shows what rows it lacks, and so on; few suffice."""


class UnhealthyError(SilorecError):
    """Problems were found, each told in a sentence of its own."""


class Severity(StrEnum):
    """Whether something must be done."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        check: which check found it, such as `delta-log`; the same in every version.
        where: file, folder, package or process concerned.
        sentence: what is wrong, where, and how to put it right.
        severity: a note needs no action, and does not fail `silorec doctor`.
        repair: puts it right without losing anything and says what was done; None
            where only people can.
    """

    check: str
    where: str
    sentence: str
    severity: Severity = Severity.PROBLEM
    repair: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    def as_json(self) -> dict[str, str | bool]:
        """For programs."""
        return {
            "check": self.check,
            "where": self.where,
            "severity": self.severity.value,
            "repairable": self.repair is not None,
            "sentence": self.sentence,
        }


def repair(
    find: Callable[[], tuple[Finding, ...]],
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Put right what can be, look again, and so on until nothing more can be.

    Args:
        find: looks for everything that is wrong.

    Returns:
        (what was done, what is still wrong).
    """
    done: list[str] = []
    for _ in range(MAX_PASSES):
        findings = find()
        repairable = [finding.repair for finding in findings if finding.repair]
        before = len(done)
        for attempt in repairable:
            try:
                done.append(attempt())
            except (LineageError, OSError):
                continue  # What it is about is found again.
        if len(done) == before:
            return tuple(done), findings
    return tuple(done), find()


@dataclass(frozen=True)
class TableUpkeep:
    """What maintenance did to one lineage table.

    Attributes:
        table: its name.
        files_before: data files that made it up.
        files_after: the same, after merging.
        replaced: data files that nothing needs any more: removed, or in a dry run to
            be removed.
    """

    table: str
    files_before: int
    files_after: int
    replaced: int


@dataclass(frozen=True)
class Upkeep:
    """What one maintenance run did.

    Attributes:
        removed: False after a dry run: nothing was removed.
        tables: one entry per table that exists.
        leftovers: temporary files of writers that died, below the output folder.
        models: model and vocabulary files that no record names, below it.
        bytes_freed: of leftovers and models; in a dry run what would be.
    """

    removed: bool
    tables: tuple[TableUpkeep, ...]
    leftovers: tuple[str, ...]
    models: tuple[str, ...]
    bytes_freed: int

    def sentences(self) -> tuple[str, ...]:
        """For people: one for each table that changed, one for the files."""
        go, went = ("are removed", "freed") if self.removed else ("would go", "to free")
        files = len(self.leftovers) + len(self.models)
        return (
            *(
                f"{table.table}: {table.files_before} data files are now "
                f"{table.files_after}, {table.replaced} replaced ones {go}"
                for table in self.tables
            ),
            f"{files} files that nothing needs {go} ({len(self.leftovers)} temporary "
            f"ones, {len(self.models)} of models), {self.bytes_freed} bytes {went}",
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "removed": self.removed,
            "tables": [vars(table) for table in self.tables],
            "leftovers": list(self.leftovers),
            "models": list(self.models),
            "bytes_freed": self.bytes_freed,
        }

"""How the run went: who took part, sums, contracts, decisions, provenance as tables.

Each table is built from the records in one function; one that has nothing to show is
empty, and the page then says so instead. Leaves out quality (`overview`) and layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from data_contracts.records import DecisionRecord, PhaseRecord, RunHistory, Verdict
from data_contracts.secure_aggregation import Phase
from tasks.reporting.remarks import Tone

_MOST_COLUMNS = 60

VERDICT_TONES: dict[str, Tone] = {
    Verdict.ACCEPTED: Tone.GOOD,
    Verdict.STOPPED_EARLY: Tone.INFO,
    Verdict.LEARNING_RATE_CUT: Tone.INFO,
    Verdict.REJECTED: Tone.WARNING,
    Verdict.SILO_LEFT_OUT: Tone.WARNING,
    Verdict.SILO_QUARANTINED: Tone.WARNING,
    Verdict.UPDATE_SET_APART: Tone.WARNING,
}


@dataclass(frozen=True)
class Attendance:
    """Who took part when: a matrix, and a sentence for every absence.

    Attributes:
        rounds: the columns.
        rows: (silo, per round: True took part, False did not, None not recorded).
        absences: one sentence each.
        abridged: whether rounds in which nobody was missing were left out.
    """

    rounds: tuple[int, ...]
    rows: tuple[tuple[str, tuple[bool | None, ...]], ...]
    absences: tuple[str, ...]
    abridged: bool


def attendance(history: RunHistory) -> Attendance:
    """The participants of every round; of very long runs only rounds with a gap."""
    present: dict[str, dict[int, bool]] = defaultdict(dict)
    for row in history.participants:
        present[row.silo][row.round_number] = row.contributed
    rounds = sorted({row.round_number for row in history.participants})
    abridged = len(rounds) > _MOST_COLUMNS
    if abridged:
        gaps = {row.round_number for row in history.participants if not row.contributed}
        rounds = sorted(gaps)[-_MOST_COLUMNS:]
    return Attendance(
        rounds=tuple(rounds),
        rows=tuple(
            (silo, tuple(present[silo].get(number) for number in rounds))
            for silo in sorted(present)
        ),
        absences=_absences(history),
        abridged=abridged,
    )


def _absences(history: RunHistory) -> tuple[str, ...]:
    missed: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in sorted(history.participants, key=lambda p: (p.silo, p.round_number)):
        if not row.contributed:
            missed[row.silo, row.reason or "no reason recorded"].append(
                row.round_number
            )
    return tuple(
        f"{silo}, round {_ranges(numbers)}: {reason}"
        for (silo, reason), numbers in missed.items()
    )


def _ranges(numbers: Sequence[int]) -> str:
    """`[1, 2, 3, 7]` -> `1 to 3, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs
    )


@dataclass(frozen=True)
class PhaseLine:
    """One phase of secure aggregation over all rounds.

    Attributes:
        phase: its name.
        asked: silos called in a round, fewest to most.
        answered: silos that gave a good answer, fewest to most.
        bytes_each: bytes one answering silo sent in a round, on average.
        seconds: median over the rounds.
    """

    phase: str
    asked: str
    answered: str
    bytes_each: float
    seconds: float


def phases(history: RunHistory) -> tuple[PhaseLine, ...]:
    """What the phases of secure aggregation took, in their order."""
    by_phase: dict[str, list[PhaseRecord]] = defaultdict(list)
    for row in history.phases:
        by_phase[row.phase].append(row)
    return tuple(
        PhaseLine(
            name,
            _span(row.asked for row in rows),
            _span(row.answered for row in rows),
            sum(r.bytes_up for r in rows) / max(sum(r.answered for r in rows), 1),
            median(row.seconds for row in rows),
        )
        for name, rows in sorted(by_phase.items(), key=lambda named: _order(named[0]))
    )


def _order(phase: str) -> int:
    names = list(map(str, Phase))
    return names.index(phase) if phase in names else len(names)


def _span(counts: Iterable[int]) -> str:
    """`[5, 4, 5]` -> `4 to 5`."""
    low, *_, high = sorted(counts) * 2
    return str(low) if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class ContractLine:
    """One outcome of one expectation, and the silos that had it.

    Attributes:
        success: whether the expectation was met.
        silos: their names, or `all 4` when every checked silo is meant.
        table: the table it is about.
        column: the column it is about.
        expectation: what was expected.
        unexpected_count: the coarse number of rows against it, as recorded.
        suite: name and version of the suite.
    """

    success: bool
    silos: str
    table: str
    column: str
    expectation: str
    unexpected_count: str
    suite: str


def contract_results(history: RunHistory) -> tuple[ContractLine, ...]:
    """Every result, failures first; silos with the same outcome share a line."""
    outcomes: dict[ContractLine, list[str]] = defaultdict(list)
    for row in sorted(history.contracts, key=lambda row: row.silo):
        outcome = ContractLine(
            row.success, "", row.table, row.column, row.expectation,
            row.unexpected_count, f"{row.suite} {row.suite_version}",
        )  # fmt: skip
        outcomes[outcome].append(row.silo)
    everyone = len({row.silo for row in history.contracts})
    lines = (
        replace(outcome, silos=_named(silos, everyone))
        for outcome, silos in outcomes.items()
    )
    return tuple(
        sorted(lines, key=lambda row: (row.success, row.table, row.column, row.silos))
    )


def _named(silos: Sequence[str], everyone: int) -> str:
    return f"all {everyone}" if len(silos) == everyone > 1 else ", ".join(silos)


def decision_log(history: RunHistory) -> tuple[tuple[DecisionRecord, Tone], ...]:
    """The decisions in the order of rounds, each with how loudly to show it."""
    rows = sorted(history.decisions, key=lambda row: row.round_number)
    return tuple((row, VERDICT_TONES.get(row.verdict, Tone.INFO)) for row in rows)


@dataclass(frozen=True)
class SiloProvenance:
    """What a silo trained on: its data snapshots and the code it ran.

    Attributes:
        silo: its name.
        snapshots: distinct hashes in order of use; more than one means that the
            data changed during the run.
        same_code: whether it ran the coordinator's code in every round.
    """

    silo: str
    snapshots: tuple[str, ...]
    same_code: bool


def provenance(history: RunHistory) -> tuple[SiloProvenance, ...]:
    """Snapshots and code of every silo that was asked to train."""
    rows = sorted(history.participants, key=lambda row: (row.silo, row.round_number))
    return tuple(
        SiloProvenance(
            silo,
            tuple(
                dict.fromkeys(
                    row.data_snapshot_hash
                    for row in rows
                    if row.silo == silo and row.data_snapshot_hash
                )
            ),
            all(
                row.code_hash in ("", history.run.code_hash)
                for row in rows
                if row.silo == silo
            ),
        )
        for silo in sorted({row.silo for row in rows})
    )

"""Who takes part: silos that keep the contract, as long as enough of them do.

Pure: reads what the silos told. The decision is all-or-nothing per silo; one broken
expectation quarantines it for this run, and everybody can read which one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_contracts.errors import QuorumLostError
from data_contracts.records import ContractRecord
from data_contracts.workspace import SiloFailure, SiloReplies
from tasks.validation.results import ExpectationResult


@dataclass(frozen=True)
class Admission:
    """The outcome of the gate.

    Attributes:
        admitted: silos that take part, in cohort order.
        quarantined: silo -> the sentence that says why it does not.
        records: one per silo and expectation, for the lineage.
    """

    admitted: tuple[str, ...]
    quarantined: Mapping[str, str]
    records: tuple[ContractRecord, ...]

    def require_quorum(self, min_silos: int) -> None:
        """Go on only with enough silos; what was found is on record by then.

        Raises:
            QuorumLostError: fewer than `min_silos` are admitted; lists the reasons.
        """
        if len(self.admitted) < min_silos:
            raise QuorumLostError(
                _quorum_lost(len(self.admitted), min_silos, self.quarantined)
            )


def admit(
    silos: Iterable[str],
    replies: SiloReplies[tuple[ExpectationResult, ...]],
    failures: Mapping[str, SiloFailure],
    *,
    run_id: str,
) -> Admission:
    """Decide on every silo.

    Args:
        silos: all silos that were invited, in cohort order.
        replies: what validation told, and where it failed.
        failures: silos that failed in another step; they are quarantined whatever
            validation told of them.
        run_id: named in the records.
    """
    failed = {**replies.failures, **failures}
    quarantined = {}
    admitted = []
    for silo in silos:
        if silo in failed:
            reason = failed[silo].sentence
        else:
            reason = broken_contract(replies.values[silo])
        if reason:
            quarantined[silo] = f"silo {silo} is quarantined: {reason}"
        else:
            admitted.append(silo)
    records = tuple(
        _record(run_id, silo, result)
        for silo, results in replies.values.items()
        for result in results
    )
    return Admission(tuple(admitted), quarantined, records)


def broken_contract(results: Sequence[ExpectationResult]) -> str:
    """The expectations that do not hold, in words; empty if all hold.

    A missing column breaks everything that reads it. Naming the consequences would
    bury the cause, so then only missing columns are named.
    """
    broken = [result for result in results if not result.success]
    missing = [result for result in broken if result.kind == "expect_column_to_exist"]
    return "; ".join(_clause(result) for result in missing or broken)


def _clause(result: ExpectationResult) -> str:
    rows = f" in {result.count} rows" if result.count else ""
    allowed = f" (allowed: {result.allowed})" if result.allowed else ""
    return f"{result.table}.{result.column} breaks `{result.kind}`{rows}{allowed}"


def _quorum_lost(left: int, min_silos: int, quarantined: Mapping[str, str]) -> str:
    summary = (
        f"{left} silos passed the data contract, fewer than cohort.min_silos "
        f"{min_silos}; repair the tables named below, or adapt `contracts` to what "
        "is right for this federation, and run again."
    )
    return "\n".join([summary, *quarantined.values()])


def _record(run_id: str, silo: str, result: ExpectationResult) -> ContractRecord:
    return ContractRecord(
        run_id=run_id,
        silo=silo,
        suite=result.suite,
        suite_version=result.suite_version,
        table=result.table,
        column=result.column,
        expectation=result.kind,
        success=result.success,
        unexpected_count=result.count,
    )

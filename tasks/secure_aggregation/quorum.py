"""Who is still in: the quorum of each phase, and the length most inputs share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from data_contracts.errors import FailureReason, QuorumLostError
from data_contracts.secure_aggregation import AggregationTerms, Phase
from data_contracts.workspace import SiloFailure


def require_quorum(
    present: Collection[str],
    needed: int,
    phase: Phase,
    terms: AggregationTerms,
    failures: Mapping[str, SiloFailure],
) -> None:
    """Stop before a sum of too few silos could be opened.

    Raises:
        QuorumLostError: how many are left, how many are needed, who is missing, why.
    """
    if len(present) >= needed:
        return
    missing = [
        f"{silo} ({failures[silo].reason}: {failures[silo].sentence})"
        if silo in failures
        else silo
        for silo in terms.members
        if silo not in present
    ]
    raise QuorumLostError(
        f"secure aggregation of {terms.purpose} in round {terms.round_number} stopped "
        f"at {phase}: {len(present)} of {len(terms.members)} silos are left and "
        f"{needed} are needed; missing: {', '.join(missing) or 'nobody'}. Start the "
        "round again when they can answer; nothing was opened"
    )


def most_common_length(lengths: Mapping[str, int]) -> int:
    """The vector length most silos brought; at a tie, the first silo's among them."""
    return Counter(lengths.values()).most_common(1)[0][0] if lengths else 0


def odd_lengths(lengths: Mapping[str, int], agreed: int) -> dict[str, SiloFailure]:
    """A failure for each silo whose vector is not `agreed` words long."""
    return {
        silo: SiloFailure(
            silo,
            FailureReason.BAD_INPUT,
            f"silo {silo} brought {length} coordinates where the others brought "
            f"{agreed}; check that it runs the same code and configuration",
        )
        for silo, length in lengths.items()
        if length != agreed
    }


def unsigned(silos: Iterable[str]) -> dict[str, SiloFailure]:
    """A failure for each silo whose keys its identity did not sign for these terms."""
    return {
        silo: SiloFailure(
            silo,
            FailureReason.DROPPED_OUT,
            f"the keys of silo {silo} are not signed by it for these terms",
        )
        for silo in silos
    }

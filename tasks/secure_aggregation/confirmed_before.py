"""A round that a crash interrupted: whose sum did its silos confirm already?

Silos remember it on their disks and confirm no sum of other silos (PROTOCOL.md, 3), so
the round can only be finished with exactly those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from data_contracts.errors import QuorumLostError
from data_contracts.secure_aggregation import AggregationTerms, threshold_for
from data_contracts.settings.cohort import AUDITOR_NAME
from data_contracts.workspace import Cohort
from tasks.secure_aggregation.silo_side import confirmed_silos

Silos = tuple[str, ...]


def confirmed_before(
    cohort: Cohort, terms: AggregationTerms, *, with_auditor: bool
) -> frozenset[str]:
    """All silos in sums of this round that an earlier attempt may have opened.

    Args:
        cohort: silos that have an input now; they are asked what they confirmed.
        terms: run, round and purpose of the sum.
        with_auditor: ask the auditor beside them, whose single word opens a sum.

    Returns:
        Nobody, if no list has confirmations enough to stand in another one's way.

    Raises:
        QuorumLostError: a silo of such a list is missing now.
    """
    if with_auditor:
        told = cohort.beside(AUDITOR_NAME).call(confirmed_silos, terms).values
        lists = {silos for silos in told.values() if silos}
    else:
        lists = binding(cohort.call(confirmed_silos, terms).values)
    bound = frozenset().union(*lists)
    if missing := sorted(bound - set(cohort.silos)):
        raise QuorumLostError(
            f"the sum of {terms.purpose} in round {terms.round_number} was confirmed "
            f"before the run stopped, with silo {missing[0]} in it, which is missing "
            "now; resume the run when it can answer"
        )
    return bound


def binding(told: Mapping[str, Silos]) -> set[Silos]:
    """Lists without whose signers the silos that are left have no quorum.

    >>> one, two = ("a", "b", "c", "d"), ("a", "b", "c")
    >>> binding({"a": one, "b": one, "c": one, "d": ()}) == {one}
    True
    >>> binding({"a": two, "b": (), "c": (), "d": ()})  # b, c and d can still sign
    set()
    """
    claims = Counter(silos for silos in told.values() if silos)
    spare = len(told) - threshold_for(len(told))
    return {silos for silos, times in claims.items() if times > spare}

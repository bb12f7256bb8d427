"""A round that was interrupted: whose sum did its silos confirm already?

Silos remember it on their disks and confirm no sum of other silos (PROTOCOL.md, 3). So
the round is finished with exactly those, wherever it can be. If one of them is missing,
it must wait; only if enough silos signed nothing yet are these summed without the
others. Lists that differ by one silo are never both opened: two thirds of each signed.
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
) -> Silos:
    """The silos that the sum of this round must be of; empty: nobody signed anything.

    Args:
        cohort: silos that have an input now; they are asked what they confirmed.
        terms: run, round and purpose of the sum.
        with_auditor: ask the auditor beside them, whose single word opens a sum.

    Raises:
        QuorumLostError: a silo without which nothing can be opened is missing now.
    """
    if with_auditor:
        said = cohort.beside(AUDITOR_NAME).call(confirmed_silos, terms).values
        told = dict.fromkeys(cohort.silos, said.get(AUDITOR_NAME, ()))
    else:
        told = dict(cohort.call(confirmed_silos, terms).values)
    if (bound := to_finish(told)) or not any(told.values()):
        return bound
    missing = sorted(set().union(*told.values()) - told.keys())
    raise QuorumLostError(
        f"the sum of {terms.purpose} in round {terms.round_number} was confirmed "
        f"before the run stopped, with silo {' and '.join(missing)} in it, which is "
        "missing now; resume the run when it can answer"
    )


def to_finish(told: Mapping[str, Silos]) -> Silos:
    """Of whom the round can be summed, in order of seats; empty: of nobody here.

    Args:
        told: silo that is here -> whose sum it confirmed, empty if none.

    >>> most, all_four = ("a", "b", "c"), ("a", "b", "c", "d")
    >>> to_finish({"a": most, "b": (), "c": (), "d": ()})  # b and c can still sign it
    ('a', 'b', 'c')
    >>> to_finish({"a": all_four, "b": (), "c": ()})  # d is missing: it must wait
    ()
    >>> to_finish({"a": (*all_four, "x"), "b": (), "c": (), "d": ()})  # or be left out
    ('b', 'c', 'd')
    """
    claims = Counter(silos for silos in told.values() if silos)
    for silos, _ in claims.most_common():
        here = [silo for silo in silos if silo in told]
        signers = sum(told[silo] in ((), silos) for silo in here)
        if len(here) == len(silos) and signers >= threshold_for(len(silos)):
            return silos
    free = tuple(silo for silo, silos in told.items() if not silos)
    return free if claims and len(free) >= threshold_for(len(told)) else ()

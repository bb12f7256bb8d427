"""Several secure sums instead of one, so that their means can be compared.

A poisoned update spoils the mean of its own group only; `tasks/global_update/` combines
the means so that a few spoiled ones weigh little. The price: the coordinator learns the
sum of each group. See So et al. 2022, "Securing Secure Aggregation", and Velicheti et
al. 2021, "Secure Byzantine-Robust Distributed Learning via Clustering".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from data_contracts.errors import ProtocolError, QuorumLostError
from data_contracts.mask_graph import usual_neighbours
from data_contracts.secure_aggregation import AggregationTerms, threshold_for
from data_contracts.secure_sum import PhaseAccount, SecureSum
from data_contracts.settings.robustness import SMALLEST_GROUP
from data_contracts.sum_parts import SumPart
from data_contracts.workspace import SiloFailure
from tasks.secure_aggregation.context import Domain, digest
from tasks.secure_aggregation.quorum import most_common_length

T = TypeVar("T")
Silos = tuple[str, ...]
SumOf = Callable[[AggregationTerms], SecureSum]


def deal(
    silos: Silos, groups: int, run_id: str, round_number: int
) -> tuple[Silos, ...]:
    """The groups of one round, each in cohort order, sizes equal within one.

    A silo's place follows from the hash of run, round and its name: the same for
    everybody who computes it, another in every round, and in nobody's hand once the run
    has its name.

    >>> deal(("a", "b", "c", "d", "e", "f"), 2, "run", 1)
    (('b', 'd', 'f'), ('a', 'c', 'e'))
    """
    drawn = sorted(
        silos, key=lambda silo: digest(Domain.GROUPING, run_id, round_number, silo)
    )
    members = [set(drawn[first::groups]) for first in range(groups)]
    return tuple(tuple(s for s in silos if s in group) for group in members)


def sum_in_groups(
    terms: AggregationTerms,
    groups: int,
    sum_of: SumOf,
    *,
    needed: int,
    dealt_as: str = "",
) -> SecureSum:
    """One secure sum per group, one after the other, put together.

    A group whose sum cannot be opened is left out, by name, as long as `needed` groups
    are opened: fewer could not outvote a poisoned one.

    Args:
        terms: of all silos; each group gets its own threshold and quorum.
        groups: into how many the members are dealt.
        sum_of: runs one secure sum.
        needed: fewest groups.
        dealt_as: the run whose groups these are; empty: this one's own.

    Raises:
        QuorumLostError: too few groups; if there were too few to begin with, nothing
            was opened.
    """
    opened: list[SecureSum] = []
    lost: dict[str, SiloFailure] = {}
    _require_groups(groups, needed, terms, lost)
    dealer = dealt_as or terms.run_id
    for group in deal(terms.members, groups, dealer, terms.round_number):
        try:
            opened.append(sum_of(narrowed(terms, group)))
        except (QuorumLostError, ProtocolError) as error:
            lost |= _lost(group, f"was not opened: {error.message}")
    length = most_common_length({s: one.total.size for one in opened
                                 for s in one.contributors})  # fmt: skip
    for odd in [one for one in opened if one.total.size != length]:
        lost |= _lost(odd.contributors, "has another length than most")
    opened = [one for one in opened if one.total.size == length]
    _require_groups(len(opened), needed, terms, lost)
    return put_together(opened, lost, terms.members)


def narrowed(terms: AggregationTerms, group: Silos) -> AggregationTerms:
    """The terms of one group: its own threshold, and never a sum of fewer than 3."""
    return replace(
        terms,
        members=group,
        threshold=threshold_for(len(group)),
        min_silos=min(SMALLEST_GROUP, len(group)),
        neighbours=usual_neighbours(len(group)) if terms.neighbours else 0,
    )


def put_together(
    sums: Sequence[SecureSum], lost: Mapping[str, SiloFailure], cohort: Silos
) -> SecureSum:
    """The sum of sums, each of them kept as a part, and everything that they cost."""
    commitments = _united(one.commitments for one in sums)
    return replace(
        sums[0],
        total=np.sum([one.total for one in sums], axis=0),
        contributors=tuple(silo for silo in cohort if silo in commitments),
        dropped={**lost, **_united(one.dropped for one in sums)},
        faults=_united(one.faults for one in sums),
        bytes_up=_united(one.bytes_up for one in sums),
        bytes_down=sum(one.bytes_down for one in sums),
        commitments={s: commitments[s] for s in cohort if s in commitments},
        phases=tuple(
            _added(same) for same in zip(*(one.phases for one in sums), strict=True)
        ),
        parts=tuple(SumPart(one.contributors, one.total) for one in sums),
    )


def _added(accounts: Sequence[PhaseAccount]) -> PhaseAccount:
    """The same phase of several groups, which ran one after the other."""
    return PhaseAccount(
        phase=accounts[0].phase,
        asked=sum(one.asked for one in accounts),
        answered=sum(one.answered for one in accounts),
        bytes_up=sum(one.bytes_up for one in accounts),
        seconds=sum(one.seconds for one in accounts),
    )


def _require_groups(
    left: int, needed: int, terms: AggregationTerms, lost: Mapping[str, SiloFailure]
) -> None:
    if left >= max(1, needed):
        return
    why = "; ".join(dict.fromkeys(failure.sentence for failure in lost.values()))
    raise QuorumLostError(
        f"secure aggregation of {terms.purpose} in round {terms.round_number} has "
        f"{left} groups of silos and secure_aggregation.combine needs {max(1, needed)} "
        f"({why or f'{len(terms.members)} silos are left'}); start the round again "
        "when more silos can answer"
    )


def _lost(group: Silos, what: str) -> dict[str, SiloFailure]:
    sentence = f"the sum of the group {', '.join(group)} {what}"
    return {silo: SiloFailure(silo, ProtocolError.reason, sentence) for silo in group}


def _united(tables: Iterable[Mapping[str, T]]) -> dict[str, T]:
    return {silo: value for table in tables for silo, value in table.items()}

"""The mode with two aggregators once, in order (TWO_AGGREGATORS.md, 2)."""

from __future__ import annotations

import time

from data_contracts.secure_aggregation import AggregationTerms, Phase
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.cohort import AUDITOR_NAME
from data_contracts.workspace import Cohort
from tasks.secure_aggregation import split_side
from tasks.secure_aggregation.bookkeeping import Books, Clock
from tasks.secure_aggregation.split_sum import SplitSum


def run_two_aggregators(
    cohort: Cohort,
    terms: AggregationTerms,
    *,
    deadline_seconds: float | None = None,
    clock: Clock = time.monotonic,
) -> SecureSum:
    """Sum the contributions of all silos with the help of the auditor.

    Args:
        cohort: the silos, each with a shelved `Contribution`, and beside them the
            auditor.
        terms: what silos and auditor are asked to agree to.
        deadline_seconds: who takes longer in a phase is left out.
        clock: monotonic seconds, for `phases`.

    Raises:
        QuorumLostError: too few silos are left, or no auditor; nothing was opened.
    """
    summed = SplitSum(terms, AUDITOR_NAME)
    books = Books(cohort, summed, deadline_seconds, clock)

    with books.phase(Phase.OPEN_AUDIT):
        books.ask_beside(AUDITOR_NAME, split_side.open_audit, terms)
        key = summed.close_opening()

    with books.phase(Phase.SPLIT_INPUT):
        books.ask(split_side.upload_split_input, dict.fromkeys(
            terms.members, (terms, key)
        ))  # fmt: skip
        request = summed.close_uploads()

    with books.phase(Phase.SUM_MASKS):
        books.ask_beside(AUDITOR_NAME, split_side.sum_masks, request)
        total = summed.unmask()

    return books.close(total, "two-aggregators")

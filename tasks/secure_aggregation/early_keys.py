"""Keys and shares for a sum, exchanged while the silos still compute what goes into it.

Phases 0 and 1 need no input, so they cost no time of their own (PROTOCOL.md, 3). Should
too few of the silos that took part have an input in the end, nothing was uploaded, and
another attempt with fresh keys and the silos that are left is as good as a first one.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait

from data_contracts.errors import ProtocolError, QuorumLostError
from data_contracts.secure_aggregation import AggregationTerms
from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import Cohort
from tasks.secure_aggregation.protocol import exchange_keys, finish_sum


class EarlyKeys:
    """An exchange that runs in a thread of its own from the moment this is made.

    No dataclass: Prefect looks into every field of one.

    Args:
        cohort: the silos.
        terms: of the sum.
        length: words of a contribution.
        deadline_seconds: silos that take longer in a phase are left out.
    """

    def __init__(
        self,
        cohort: Cohort,
        terms: AggregationTerms,
        length: int,
        deadline_seconds: float | None,
    ) -> None:
        thread = ThreadPoolExecutor(1, thread_name_prefix="early-keys")
        self._begun = thread.submit(
            exchange_keys,
            cohort,
            terms,
            early_length=length,
            deadline_seconds=deadline_seconds,
        )
        thread.shutdown(wait=False)
        self._quorum = terms.quorum
        self._cohort, self._restarts = cohort, cohort.restarts

    def give_up(self) -> None:
        """Return when no silo is busy with it any more."""
        wait([self._begun])

    def finished_with(self, silos: Collection[str]) -> SecureSum | None:
        """The sum over these silos; None: too few of them have exchanged keys.

        None, too, if a process was started again meanwhile: it has lost its keys.

        Raises:
            QuorumLostError: too few silos were left after the first upload.
            ProtocolError: a silo dealt shares that cannot open its part.
        """
        try:
            begun = self._begun.result()
        except (QuorumLostError, ProtocolError):
            return None
        if self._cohort.restarts != self._restarts:
            return None
        if len(set(silos) & set(begun.deliveries)) < self._quorum:
            return None
        return finish_sum(begun, silos)

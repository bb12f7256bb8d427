"""Silos of one homomorphic aggregation in this process, and how to cheat on them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.secure_sum import SecureSum
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution, SiloReplies, SiloStep
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.in_process_cohort import InProcessCohort

HOMOMORPHIC = SecureAggregationConfig(mode="homomorphic")
Words = np.ndarray[Any, np.dtype[np.uint32]]


class RelayedCohort(InProcessCohort):
    """A cohort whose coordinator relays something else than it was given.

    Attributes:
        on_the_way: (silo, step) -> what becomes of the argument of that step.
        on_the_way_back: (silo, step) -> what becomes of the reply.
    """

    def __init__(self, silos: Iterable[str], folder: Path) -> None:
        super().__init__(silos, folder)
        self.on_the_way: dict[tuple[str, str], Callable[[Any], Any]] = {}
        self.on_the_way_back: dict[tuple[str, str], Callable[[Any], Any]] = {}
        self.seen: list[object] = []

    def call(
        self,
        step: SiloStep[Any],
        *args: Any,
        per_silo: Mapping[str, tuple[Any, ...]] | None = None,
        deadline_seconds: float | None = None,
        on_reply: Callable[[str, Any], None] | None = None,
        meanwhile: bool = False,
        **more: Any,
    ) -> SiloReplies[Any]:
        per_silo = per_silo or {}
        changed = {
            silo: tuple(
                self.on_the_way.get((silo, step.__name__), lambda it: it)(argument)
                for argument in arguments
            )
            for silo, arguments in per_silo.items()
        }

        def passed_on(silo: str, reply: Any) -> None:
            self.seen += [reply]
            change = self.on_the_way_back.get((silo, step.__name__), lambda it: it)
            if on_reply:
                on_reply(silo, change(reply))

        replies = super().call(
            step,
            *args,
            per_silo=changed,
            deadline_seconds=deadline_seconds,
            on_reply=passed_on if on_reply else None,
        )
        self.seen += replies.values.values()
        return replies

    def replies(self, kind: type) -> list[Any]:
        """Everything of this kind that the coordinator received."""
        return [reply for reply in self.seen if isinstance(reply, kind)]

    def bytes_seen(self) -> bytes:
        """All that the coordinator received."""
        return pickle.dumps(self.seen)


def shelve(cohort: InProcessCohort, inputs: Mapping[str, Words]) -> None:
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy()))


def aggregate(cohort: InProcessCohort, **changes: Any) -> SecureSum:
    """One sum through the task, in mode homomorphic."""
    arguments = {
        "purpose": "model update",
        "round_number": 3,
        "min_silos": 2,
        "config": HOMOMORPHIC,
    }
    return aggregate_securely.fn(cohort, **(arguments | changes))

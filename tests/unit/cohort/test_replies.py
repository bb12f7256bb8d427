"""What becomes of replies that are handed out as they arrive."""

import weakref

import numpy as np

from data_contracts.errors import FailureReason
from data_contracts.workspace import SiloFailure
from tasks.cohort.actor import RayCohort


def test_a_reply_that_was_handed_out_is_gone_before_the_next_but_one(monkeypatch):
    lost = SiloFailure("c", FailureReason.DIED, "silo c died")
    alive: list[int] = []
    seen: list[weakref.ref] = []

    def arriving(*_: object):
        for silo in ("a", "b"):
            yield silo, np.zeros(3)
        yield "c", lost

    def taken(silo: str, reply: np.ndarray) -> None:
        seen.append(weakref.ref(reply))
        alive.append(sum(other() is not None for other in seen))

    def step(workspace: object) -> np.ndarray:
        raise AssertionError("nobody works here")

    monkeypatch.setattr(RayCohort, "_with_retries", arriving)
    cohort = RayCohort("run", ("a", "b", "c"), 3, None)
    replies = cohort.call(step, on_reply=taken)
    assert (dict(replies.values), dict(replies.failures)) == ({}, {"c": lost})
    assert alive == [1, 1]
    assert [other() for other in seen] == [None, None]
    kept = cohort.call(step)
    assert list(kept.values) == ["a", "b"]

"""Made-up users for an audit: nothing of a real silo is in it."""

from __future__ import annotations

import numpy as np

from models.sequences import HELD_OUT_NOTHING, SequenceData

NEXT_ITEM_SHARE = 0.5
"""Share of steps that go to the following item; else any item, popular ones first."""


def made_up_users(
    users: int, items: int, length: int, draws: np.random.Generator
) -> SequenceData:
    """Histories with something to learn: some items follow others, some are popular.

    Args:
        users: how many.
        items: of the catalogue.
        length: of every history.
        draws: where chance comes from.
    """
    popularity = 1.0 / np.arange(1, items + 1)
    jumps = draws.choice(items, (users, length), p=popularity / popularity.sum())
    follows = draws.random((users, length)) < NEXT_ITEM_SHARE
    histories = jumps.astype(np.int32)
    for place in range(1, length):
        following = (histories[:, place - 1] + 1) % items
        histories[:, place] = np.where(follows[:, place], following, jumps[:, place])
    nothing = np.full(users, HELD_OUT_NOTHING, np.int64)
    return SequenceData(
        items=histories.ravel(),
        offsets=np.arange(users + 1, dtype=np.int64) * length,
        train_end=np.full(users, length, np.int64),
        validation=nothing,
        test=nothing,
    )

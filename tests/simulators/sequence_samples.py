"""Small sequences and models that several tests train and rank with."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from data_contracts.settings.training import LocalTrainingConfig, ModelConfig
from models.sequences import SequenceData

TINY_MODEL = ModelConfig(dim=16, blocks=2, heads=2, context=12, dropout=0.1)
TINY_TRAINING = LocalTrainingConfig(
    epochs=2, batch_size=8, learning_rate=5e-3, precision="float32"
)


def cycling_users(users: int, items: int, length: int, seed: int = 0) -> SequenceData:
    """Users who walk round the catalogue in order: item i is followed by i + 1."""
    starts = np.random.default_rng(seed).integers(items, size=users)
    steps = (starts[:, None] + np.arange(length)) % items
    offsets = np.arange(users + 1, dtype=np.int64) * length
    ends = np.full(users, length, dtype=np.int64)
    return SequenceData(
        steps.ravel().astype(np.int32), offsets, ends - 2, ends - 2, ends - 1
    )


@st.composite
def interaction_tables(draw) -> pa.Table:
    """Interactions of a few users with few items, with many ties in time."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 4), st.integers(0, 7), st.integers(0, 6)),
            min_size=1,
            max_size=80,
        )
    )
    users, items, days = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": [f"u{user}" for user in users],
            "item_id": [f"i{item}" for item in items],
            "timestamp": pa.array([day * 86_400 for day in days], pa.int64()),
        }
    )

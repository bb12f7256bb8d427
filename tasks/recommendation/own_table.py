"""A silo's own table of recommendations: a partition for each model.

Delta replaces the partition of a model in one commit: whoever reads sees the old rows
or the new ones, and the same batch twice leaves the same rows.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from data_contracts.errors import SiloError
from models.recommenders.top_items import NOBODY, Top

RECOMMENDATIONS = "recommendations"
"""Folder of the table in the silo's own folder."""

KEPT_HOURS = 24
"""Replaced files stay so long."""

SCHEMA = pa.schema(
    [
        pa.field("model_sha256", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("made_at", pa.string(), nullable=False),
    ]
)


def write_recommendations(
    folder: Path,
    model_sha256: str,
    made_at: str,
    item_ids: pa.StringArray,
    batches: Iterable[tuple[pa.Array, Top]],
) -> Path:
    """Put the recommendations of a model in the place of its earlier ones.

    Args:
        folder: the silo's own.
        model_sha256: the model.
        made_at: ISO 8601.
        item_ids: what the silo calls the model's items, [V].
        batches: (user ids [B], items and scores [B, k]).

    Raises:
        SiloError: the table cannot be written; it holds what it held before.
    """
    with _alone(folder):
        return _replace(
            folder / RECOMMENDATIONS, model_sha256, made_at, item_ids, batches
        )


def _replace(
    path: Path,
    model_sha256: str,
    made_at: str,
    item_ids: pa.StringArray,
    batches: Iterable[tuple[pa.Array, Top]],
) -> Path:
    failures: list[Exception] = []

    def rows() -> Iterator[pa.RecordBatch]:
        try:
            for users, top in batches:
                yield _rows(model_sha256, made_at, item_ids, users, top)
        except Exception as error:
            failures.append(error)
            raise

    try:
        write_deltalake(
            path,
            pa.RecordBatchReader.from_batches(SCHEMA, rows()),
            mode="overwrite",
            predicate=f"model_sha256 = '{model_sha256}'",
            partition_by=["model_sha256"],
        )
    except Exception as error:
        if failures:  # Not of the table: Delta would hide what it was.
            raise failures[0] from None
        if not isinstance(error, DeltaError | OSError | pa.ArrowException):
            raise
        raise SiloError(
            f"the table {path} could not be written ({type(error).__name__}); free "
            "space or mend its permissions, and run the batch again"
        ) from None
    # What was replaced names people, too: it goes once nobody can be reading it.
    DeltaTable(path).vacuum(KEPT_HOURS, dry_run=False, enforce_retention_duration=False)
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One batch at a time; a killed one leaves no lock behind."""
    with (folder / f"{RECOMMENDATIONS}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _rows(
    model_sha256: str,
    made_at: str,
    item_ids: pa.StringArray,
    users: pa.Array,
    top: Top,
) -> pa.RecordBatch:
    items, scores = top
    kept = items != NOBODY  # [B, k]
    people, ranks = np.nonzero(kept)
    columns = [
        _repeated(model_sha256, len(people)),
        users.take(pa.array(people)),
        pa.array(ranks + 1, pa.int32()),
        item_ids.take(pa.array(items[kept])),
        pa.array(scores[kept], pa.float32()),
        _repeated(made_at, len(people)),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def _repeated(text: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), times)


def in_batches(places: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Places in pieces of `size`."""
    for start in range(0, len(places), size):
        yield places[start : start + size]

"""Which of a silo's items stands behind which name; a file of the silo's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.columns import Column
from data_contracts.errors import SiloInputError

NAMES_FILE = "item_names.parquet"
"""In the silo's own folder."""

_NAME = "name"


def write_names(folder: Path, named: Mapping[str, str]) -> None:
    """Keep item id -> name; the file is there whole, or as it was."""
    known = pa.table({_NAME: list(named.values()), Column.ITEM: list(named)})
    draft = folder / f"{NAMES_FILE}.part"
    pq.write_table(known, draft)
    draft.replace(folder / NAMES_FILE)


def own_ids(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """What the silo itself calls these items; empty text for those it does not know.

    Raises:
        SiloInputError: there is no such file, or it cannot be read.
    """
    try:
        known = pq.read_table(folder / NAMES_FILE)
    except (OSError, pa.ArrowException):
        raise SiloInputError(
            f"{NAMES_FILE} in the silo's own folder cannot be read, so nobody can tell "
            "what the model's items are; run a training or restore it from a backup"
        ) from None
    ids = dict(
        zip(known[_NAME].to_pylist(), known[Column.ITEM].to_pylist(), strict=True)
    )
    return tuple(ids.get(name, "") for name in names)

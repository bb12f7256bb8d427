"""MovieLens-100K and -1M through one interface, whichever file they came in.

Both archives of a data set give the same canonical tables, with one exception: the
titles of ml-100k, which the package spells its own way (ids are numbers there; the
ids of ml-1m are titles, equal in both). Rows keep the order of the official file,
which decides ties in time. Nothing is filtered, sorted or split here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName
from data_contracts.errors import DataSourceError
from data_contracts.settings.data import Dataset
from tasks.ingestion.downloads import Source
from tasks.ingestion.movielens_layouts import LAYOUTS, read_layout

_NOTICE = (
    "{name} is published by GroupLens, University of Minnesota, for research: do not "
    "redistribute it, do not use it commercially without their permission, and cite "
    "F. Maxwell Harper and Joseph A. Konstan (2015), The MovieLens Datasets: History "
    "and Context, ACM TiiS 5(4)."
)
LICENCE_NOTICES: Mapping[Dataset, str] = {
    "ml-100k": _NOTICE.format(name="MovieLens-100K"),
    "ml-1m": _NOTICE.format(name="MovieLens-1M"),
}
"""What a person must be told before the data set is used."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Sizes that the README of a data set promises."""

    interactions: int
    users: int
    rated_items: int


FACTS: Mapping[Dataset, Facts] = {
    "ml-100k": Facts(interactions=100_000, users=943, rated_items=1_682),
    "ml-1m": Facts(interactions=1_000_209, users=6_040, rated_items=3_706),
}


def read_movielens(
    archive: Path, source: Source, facts: Facts | None = None
) -> dict[TableName, pa.Table]:
    """Read and check the canonical tables of a fetched data set.

    Args:
        archive: the file of `source`.
        source: which data set, from whom.
        facts: sizes to insist on; left out: those of the published data set.

    Raises:
        DataSourceError: the archive holds something else than the data set.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            tables = read_layout(opened, LAYOUTS[source.dataset, source.origin])
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, pa.ArrowException) as e:
        raise DataSourceError(
            f"{archive} does not hold {source.dataset} in the expected form "
            f"({type(e).__name__}); delete it and run again to fetch it anew."
        ) from None
    for promise, kept in _promises(tables, facts or FACTS[source.dataset]).items():
        if not kept:
            raise DataSourceError(
                f"{archive} is not {source.dataset} as published, which has "
                f"{promise}; delete it and run again to fetch it anew."
            )
    return tables


def _promises(tables: Mapping[TableName, pa.Table], facts: Facts) -> dict[str, bool]:
    interactions = tables[TableName.INTERACTIONS]
    user_ids = tables[TableName.USERS][Column.USER]
    item_ids = tables[TableName.ITEMS][Column.ITEM]
    active = pc.unique(interactions[Column.USER])
    rated = pc.unique(interactions[Column.ITEM])
    pairs = interactions.group_by([Column.USER, Column.ITEM]).aggregate([])
    extremes = pc.min_max(interactions[Column.RATING]).as_py()
    return {
        "no missing value": not any(
            column.null_count for table in tables.values() for column in table.columns
        ),
        f"{facts.interactions} interactions": len(interactions) == facts.interactions,
        f"{facts.users} users": len(user_ids) == len(active) == facts.users,
        f"{facts.rated_items} rated items": len(rated) == facts.rated_items,
        "ratings from 1 to 5": extremes == {"min": 1.0, "max": 5.0},
        "each item at most once per user": len(pairs) == len(interactions),
        "one row per user": _are_the_keys(user_ids, active),
        "one row per item": _are_the_keys(item_ids, rated),
    }


def _are_the_keys(keys: pa.ChunkedArray, used: pa.Array) -> bool:
    distinct = pc.unique(keys)
    known = pc.all(pc.is_in(used, value_set=distinct)).as_py()
    return bool(known) and len(distinct) == len(keys)

"""Facts about a silo's tables as a whole, and how far they moved since last time.

Pure: reads Arrow tables, returns numbers. Rules about the facts are the suite in
`data_contracts/expectations/snapshot.py`; this module judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum, log2

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import NonNegativeInt, PositiveInt

from data_contracts.columns import Column, TableName
from data_contracts.expectations.snapshot import SnapshotFact
from data_contracts.tables import SiloTables


@dataclass(frozen=True)
class SnapshotProfile:
    """What is remembered of a snapshot; stays on the silo's own disk.

    Attributes:
        interactions: rows of the interaction table.
        users: distinct users in it; None without a readable user column.
        unknown_item_rows: interactions whose item is not in the item table; None
            without an item table.
        unknown_user_rows: the same for users.
        item_counts: item -> its interactions.
    """

    interactions: NonNegativeInt
    users: NonNegativeInt | None
    unknown_item_rows: NonNegativeInt | None
    unknown_user_rows: NonNegativeInt | None
    item_counts: Mapping[str, PositiveInt]


def profile_tables(tables: SiloTables) -> SnapshotProfile:
    """Profile the tables; nulls among ids are left to the tables' own suites."""
    interactions = tables.tables[TableName.INTERACTIONS]
    users = _ids(interactions, Column.USER)
    items = _ids(interactions, Column.ITEM)
    catalogue = _ids(tables.tables.get(TableName.ITEMS), Column.ITEM)
    members = _ids(tables.tables.get(TableName.USERS), Column.USER)
    return SnapshotProfile(
        interactions=interactions.num_rows,
        users=None if users is None else pc.count_distinct(users).as_py(),
        unknown_item_rows=_rows_outside(items, catalogue),
        unknown_user_rows=_rows_outside(users, members),
        item_counts={} if items is None else _counts(items),
    )


def snapshot_facts(
    profile: SnapshotProfile, accepted: SnapshotProfile | None
) -> pa.Table:
    """The one-row table that the snapshot suite is run on.

    Args:
        profile: of the snapshot at hand.
        accepted: of the last accepted snapshot; None before the first, which
            leaves drift and row loss null.
    """
    drift = loss = None
    if accepted is not None:
        drift = js_divergence(accepted.item_counts, profile.item_counts)
        loss = row_loss(accepted.interactions, profile.interactions)
    facts: dict[SnapshotFact, tuple[float | None, pa.DataType]] = {
        SnapshotFact.INTERACTIONS: (profile.interactions, pa.int64()),
        SnapshotFact.USERS: (profile.users, pa.int64()),
        SnapshotFact.UNKNOWN_ITEM: (profile.unknown_item_rows, pa.int64()),
        SnapshotFact.UNKNOWN_USER: (profile.unknown_user_rows, pa.int64()),
        SnapshotFact.POPULARITY_DRIFT: (drift, pa.float64()),
        SnapshotFact.ROW_LOSS: (loss, pa.float64()),
    }
    return pa.table(
        {fact.value: pa.array([value], kind) for fact, (value, kind) in facts.items()}
    )


def js_divergence(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of two popularity distributions, in bits.

    JSD(P, Q) = sum_i p_i/2 log2(p_i/m_i) + q_i/2 log2(q_i/m_i), m = (p + q)/2
    (Lin 1991, section 4, equal weights). 0: the same shares; 1: no item in common.

    Args:
        before: item -> count, at least 1.
        now: the same for the other snapshot.

    Returns:
        A number in [0, 1]. Nothing against something is 1, nothing against
        nothing is 0. Independent of the order of items.

    With P = (1, 0) and Q = (1/2, 1/2): m = (3/4, 1/4), so the sum is
    1/2 log2(4/3) + 1/4 log2(2/3) + 1/4 log2(2) = 3/2 - 3/4 log2(3).

    >>> round(js_divergence({"a": 6}, {"a": 5, "b": 5}), 6)
    0.311278
    >>> round(1.5 - 0.75 * log2(3), 6)
    0.311278
    >>> js_divergence({"a": 1, "b": 3}, {"b": 30, "a": 10})
    0.0
    >>> js_divergence({"a": 1}, {"b": 7})
    1.0
    """
    if not before or not now:
        return 0.0 if not before and not now else 1.0
    halves = [*_half_divergence(before, now), *_half_divergence(now, before)]
    return min(1.0, max(0.0, fsum(halves)))


def row_loss(before: int, now: int) -> float:
    """Share of rows that are gone; 0 if there are as many or more.

    >>> row_loss(1000, 750), row_loss(1000, 1200), row_loss(0, 5)
    (0.25, 0.0, 0.0)
    """
    return max(0.0, 1 - now / before) if before else 0.0


def _half_divergence(
    counts: Mapping[str, int], others: Mapping[str, int]
) -> list[float]:
    total, other_total = sum(counts.values()), sum(others.values())
    terms = []
    for item, count in counts.items():
        share, other_share = count / total, others.get(item, 0) / other_total
        terms.append(share / 2 * log2(2 * share / (share + other_share)))
    return terms


def _ids(table: pa.Table | None, column: Column) -> pa.ChunkedArray | None:
    """The ids of a column without nulls; None where there is no such text column."""
    if table is None or column.value not in table.column_names:
        return None
    ids = table.column(column.value)
    is_text = pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)
    return ids.drop_null().cast(pa.string()) if is_text else None


def _rows_outside(
    ids: pa.ChunkedArray | None, known: pa.ChunkedArray | None
) -> int | None:
    if ids is None or known is None:
        return None
    inside = pc.sum(pc.is_in(ids, value_set=known.combine_chunks())).as_py() or 0
    return len(ids) - int(inside)


def _counts(ids: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(ids)
    return dict(
        zip(
            counted.field("values").to_pylist(),
            counted.field("counts").to_pylist(),
            strict=True,
        )
    )

"""The taste split: by what users liked before anything was held out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.columns import TableName
from tasks.ingestion.silo_share import SiloShare, union
from tasks.ingestion.taste_split import TASTES, Stocking, split_by_taste

STOCKING = Stocking(blockbusters=20, rest=0.3)
USERS, ITEMS, LENGTH = 60, 120, 30
GENRES = [sorted(family)[0] for family in TASTES.values()]
Tables = dict[TableName, pa.Table]
DRAWN = [
    [23, 26, 27, 29, 38, 39],
    [22, 25, 28, 30, 43],
    [23, 24, 35, 39],
    [21, 32, 44],
    [20, 28, 31, 32, 36, 40],
]
"""Of items 20 to 44, those each silo stocks beside its family."""


@pytest.fixture(params=range(5))
def generator(request) -> np.random.Generator:
    return np.random.default_rng(request.param)


def invented(generator: np.random.Generator) -> Tables:
    """Items 0 to 19 are rated by everyone, so they are the blockbusters for sure.

    Items go round the families: item n is of family n % 5.
    """
    seen = [
        np.concatenate(
            [np.arange(20), 20 + generator.permutation(ITEMS - 20)[: LENGTH - 20]]
        )[generator.permutation(LENGTH)]
        for _ in range(USERS)
    ]
    order = generator.permutation(USERS * LENGTH)
    return {
        TableName.INTERACTIONS: pa.table(
            {
                "user_id": [f"u{n}" for n in np.repeat(range(USERS), LENGTH)[order]],
                "item_id": [f"i{n}" for n in np.concatenate(seen)[order]],
                # Pairs of equal times: the row order decides.
                "timestamp": np.tile(np.arange(LENGTH) // 2, USERS)[order],
            }
        ),
        TableName.ITEMS: pa.table(
            {
                "item_id": [f"i{n}" for n in range(ITEMS)],
                "categories": [f"{GENRES[n % 5]}|Short" for n in range(ITEMS)],
            }
        ),
        TableName.USERS: pa.table({"user_id": [f"u{n}" for n in range(USERS)]}),
    }


def split(tables: Tables) -> dict[str, SiloShare]:
    return split_by_taste(tables, STOCKING)


def assignment(shares: dict[str, SiloShare]) -> list[int]:
    owners = np.stack([share.users for share in shares.values()])
    assert (owners.sum(axis=0) == 1).all()
    return owners.argmax(axis=0).tolist()


def last_two(interactions: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Row numbers of each user's last two among `rows`, ties in row order."""
    frame = interactions.to_pandas().loc[rows]
    ordered = frame.sort_values("timestamp", kind="stable")
    return ordered.groupby("user_id").tail(2).index.to_numpy()


def with_items(tables: Tables, rows: np.ndarray, items: list[str]) -> Tables:
    frame = tables[TableName.INTERACTIONS].to_pandas()
    frame.loc[rows, "item_id"] = items
    changed = pa.Table.from_pandas(frame, preserve_index=False)
    return {**tables, TableName.INTERACTIONS: changed}


def test_the_last_two_interactions_of_users_do_not_change_the_assignment(generator):
    tables = invented(generator)
    interactions = tables[TableName.INTERACTIONS]
    rows = last_two(interactions, np.arange(len(interactions)))
    others = [f"i{n}" for n in generator.integers(ITEMS, size=len(rows))]
    before, after = split(tables), split(with_items(tables, rows, others))
    assert assignment(before) == assignment(after)
    for silo in TASTES:
        assert (before[silo].items == after[silo].items).all()


def test_what_is_held_out_at_a_silo_has_no_say_either(generator):
    tables = invented(generator)
    before = split(tables)
    interactions = tables[TableName.INTERACTIONS]
    rows = last_two(interactions, np.flatnonzero(union(before.values()).interactions))
    overall = last_two(interactions, np.arange(len(interactions)))
    assert set(rows) != set(overall), "some silo must hold out something earlier"
    kinds = [int(i[1:]) < 20 for i in interactions["item_id"].take(rows).to_pylist()]
    others = [
        f"i{generator.integers(20) if blockbuster else generator.integers(20, ITEMS)}"
        for blockbuster in kinds
    ]
    assert assignment(before) == assignment(split(with_items(tables, rows, others)))


def test_earlier_interactions_do_change_the_assignment(generator):
    tables = invented(generator)
    interactions = tables[TableName.INTERACTIONS]
    early = np.flatnonzero(
        (interactions["timestamp"].to_numpy() < 5)
        & np.isin(interactions["user_id"].to_pylist(), ["u0"])
    )
    for family, silo in enumerate(TASTES):
        only = with_items(tables, early, [f"i{family + 100}"] * len(early))
        assert list(TASTES)[assignment(split(only))[0]] == silo


def test_a_silo_holds_only_what_it_stocks_and_stocks_what_the_rule_says(generator):
    tables = invented(generator)
    shares = split(tables)
    for family, (silo, share) in enumerate(shares.items()):
        part = share.of(tables)
        catalogue = set(part[TableName.ITEMS]["item_id"].to_pylist())
        held = set(part[TableName.INTERACTIONS]["item_id"].to_pylist())
        assert held <= catalogue, silo
        own = {f"i{n}" for n in range(ITEMS) if n % 5 == family or n < 20}
        assert own <= catalogue
        assert 0.1 < len(catalogue - own) / (ITEMS - len(own)) < 0.5
        users = set(part[TableName.USERS]["user_id"].to_pylist())
        assert set(part[TableName.INTERACTIONS]["user_id"].to_pylist()) <= users


def test_no_stocked_interaction_of_a_member_is_lost(generator):
    tables = invented(generator)
    frame = tables[TableName.INTERACTIONS].to_pandas()
    for share in split(tables).values():
        part = share.of(tables)
        users = part[TableName.USERS]["user_id"].to_pylist()
        items = part[TableName.ITEMS]["item_id"].to_pylist()
        expected = frame[frame.user_id.isin(users) & frame.item_id.isin(items)]
        assert len(part[TableName.INTERACTIONS]) == len(expected)


def test_the_drawn_part_of_the_catalogue_is_fixed():
    tables = invented(np.random.default_rng(0))
    drawn = [
        [n for n in range(20, 45) if share.items[n] and n % 5 != family]
        for family, share in enumerate(split(tables).values())
    ]
    assert drawn == DRAWN

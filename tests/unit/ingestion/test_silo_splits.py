"""Natural splits: every user in one silo, every interaction with its user."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import ConfigError
from tasks.ingestion.movielens_layouts import OCCUPATIONS_1M
from tasks.ingestion.silo_share import union
from tasks.ingestion.silo_splits import NATURAL_SPLITS, silos_of, split_silos

AGES_1M = (1, 18, 25, 35, 45, 50, 56)
OCCUPATIONS_100K = (
    *("administrator", "artist", "doctor", "educator", "engineer", "entertainment"),
    *("executive", "healthcare", "homemaker", "lawyer", "librarian", "marketing"),
    *("none", "other", "programmer", "retired", "salesman", "scientist", "student"),
    *("technician", "writer"),
)
PEOPLE = {
    "ml-100k": list(product(range(7, 74), "FM", OCCUPATIONS_100K)),
    "ml-1m": list(product(AGES_1M, "FM", OCCUPATIONS_1M)),
}
FIRST_CHARACTERS = {"ml-100k": "0123456789EKLMNRTVY", "ml-1m": "0123456789"}


def everybody(dataset: str) -> dict[TableName, pa.Table]:
    """One user of every kind there is, with two interactions each."""
    people = PEOPLE[dataset]
    letters = FIRST_CHARACTERS[dataset]
    ids = [f"u{number}" for number in range(len(people))]
    return {
        TableName.USERS: pa.table(
            {
                "user_id": ids,
                "age": [age for age, _, _ in people],
                "gender": [gender for _, gender, _ in people],
                "occupation": [occupation for _, _, occupation in people],
                "region": [letters[n % len(letters)] + "123" for n in range(len(ids))],
            }
        ),
        TableName.ITEMS: pa.table({"item_id": ["a", "b"]}),
        TableName.INTERACTIONS: pa.table(
            {
                "user_id": [*ids, *reversed(ids)],
                "item_id": ["a"] * len(ids) + ["b"] * len(ids),
                "timestamp": range(2 * len(ids)),
            }
        ),
    }


@pytest.mark.parametrize(("dataset", "split"), NATURAL_SPLITS)
def test_every_user_and_interaction_belongs_to_exactly_one_silo(dataset, split):
    tables = everybody(dataset)
    shares = split_silos(tables, dataset, split)
    assert tuple(shares) == silos_of(dataset, split)
    for rows in ("users", "interactions"):
        owners = np.sum([getattr(share, rows) for share in shares.values()], axis=0)
        assert (owners == 1).all()
    for share in shares.values():
        part = share.of(tables)
        assert set(part[TableName.INTERACTIONS]["user_id"].to_pylist()) == set(
            part[TableName.USERS]["user_id"].to_pylist()
        )
        assert part[TableName.ITEMS] == tables[TableName.ITEMS]
        assert len(part[TableName.USERS])


@pytest.mark.parametrize(
    ("dataset", "split", "user", "silo"),
    [
        ("ml-100k", "occupation", {"occupation": "student"}, "campus"),
        ("ml-1m", "occupation", {"occupation": "programmer"}, "workshop"),
        ("ml-100k", "age", {"age": 24}, "youth-channel"),
        ("ml-100k", "age", {"age": 25}, "city-magazine"),
        ("ml-100k", "age", {"age": 44}, "heritage-club"),
        ("ml-1m", "age", {"age": 56}, "heritage-club"),
        ("ml-1m", "age-gender", {"age": 35, "gender": "F"}, "family-network-women"),
        ("ml-1m", "region", {"region": "94043"}, "pacific"),
        ("ml-100k", "region", {"region": "V9B20"}, "pacific"),
    ],
)
def test_a_user_goes_where_the_table_says(dataset, split, user, silo):
    tables = everybody(dataset)
    someone = {"user_id": "me", "age": 30, "gender": "M", "occupation": "other"}
    tables[TableName.USERS] = pa.Table.from_pylist([someone | {"region": "0"} | user])
    tables[TableName.INTERACTIONS] = pa.table({"user_id": ["me"]})
    shares = split_silos(tables, dataset, split)
    assert [name for name, share in shares.items() if share.users[0]] == [silo]


def test_rows_of_a_silo_keep_their_order():
    tables = everybody("ml-1m")
    part = split_silos(tables, "ml-1m", "age")["youth-channel"].of(tables)
    times = part[TableName.INTERACTIONS]["timestamp"].to_pylist()
    assert times == sorted(times)


def test_the_union_of_a_natural_split_is_the_whole():
    tables = everybody("ml-100k")
    together = union(split_silos(tables, "ml-100k", "occupation").values())
    assert together.of(tables) == tables


@pytest.mark.parametrize(
    ("dataset", "split", "silos"),
    [
        ("ml-100k", "occupation", 4),
        ("ml-100k", "age", 4),
        ("ml-1m", "occupation", 4),
        ("ml-1m", "age-gender", 8),
        ("ml-1m", "region", 5),
        ("ml-1m", "taste", 5),
    ],
)
def test_number_of_silos(dataset, split, silos):
    assert len(set(silos_of(dataset, split))) == silos


@pytest.mark.parametrize("split", ["taste", "age-gender"])
def test_a_split_that_a_data_set_does_not_have_is_refused_with_a_choice(split):
    with pytest.raises(ConfigError, match="choose one of occupation, age, region"):
        silos_of("ml-100k", split)

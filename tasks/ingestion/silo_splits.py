"""Natural splits of the public data sets: which users, and which items, make a silo.

Pure functions of the canonical tables; the rules are tables, each with the number
of users it makes. Except in the taste split, every silo stocks the whole catalogue.
Writing the silos down is the business of `silo_folders`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName
from data_contracts.errors import ConfigError
from data_contracts.settings.data import Dataset, SiloSplit
from tasks.ingestion.silo_share import Rows, SiloShare, positions
from tasks.ingestion.taste_split import TASTES, split_by_taste

Rule = Mapping[Column, Iterable[object]]
"""Who belongs to a silo: attribute -> the values of which a user has one.

Several attributes must all fit. `Column.REGION` goes by the first character of the
zip code.
"""

OCCUPATIONS_OF_100K: Mapping[str, Rule] = {
    "campus": {Column.OCCUPATION: ("student", "none")},  # 205 users
    "library": {  # 222
        Column.OCCUPATION: ("educator", "librarian", "scientist", "writer")
    },
    "industry": {  # 230
        Column.OCCUPATION: (
            *("engineer", "programmer", "technician"),
            *("executive", "marketing", "salesman"),
        )
    },
    "town-hall": {  # 286
        Column.OCCUPATION: (
            *("administrator", "artist", "doctor", "entertainment", "healthcare"),
            *("homemaker", "lawyer", "other", "retired"),
        )
    },
}

OCCUPATIONS_OF_1M: Mapping[str, Rule] = {
    "campus": {  # 1,626 users
        Column.OCCUPATION: (
            *("college student", "school student", "educator", "scientist"),
        )
    },
    "head-office": {  # 1,395
        Column.OCCUPATION: (
            *("executive", "sales", "clerk", "customer service", "lawyer"),
        )
    },
    "town-hall": {  # 2,042
        Column.OCCUPATION: (
            *("artist", "health care", "homemaker", "other", "retired"),
            *("self-employed", "unemployed", "writer"),
        )
    },
    "workshop": {  # 977
        Column.OCCUPATION: ("engineer", "farmer", "programmer", "tradesman")
    },
}

AGES_OF_100K: Mapping[str, Rule] = {
    "youth-channel": {Column.AGE: range(25)},  # 234 users
    "city-magazine": {Column.AGE: range(25, 33)},  # 267
    "family-network": {Column.AGE: range(33, 44)},  # 214
    "heritage-club": {Column.AGE: range(44, 150)},  # 228
}

AGES_OF_1M: Mapping[str, Rule] = {
    "youth-channel": {Column.AGE: range(25)},  # 1,325 users
    "city-magazine": {Column.AGE: range(25, 35)},  # 2,096
    "family-network": {Column.AGE: range(35, 50)},  # 1,743
    "heritage-club": {Column.AGE: range(50, 150)},  # 876
}

AGES_AND_GENDERS_OF_1M: Mapping[str, Rule] = {
    # 376, 949, 558, 1,538, 527, 1,216, 248 and 628 users
    f"{silo}-{people}": {**ages, Column.GENDER: gender}
    for silo, ages in AGES_OF_1M.items()
    for people, gender in (("women", "F"), ("men", "M"))
}

REGIONS: Mapping[str, Rule] = {
    # Sizes in ml-100k and ml-1m; letters are Canadian, in ml-100k only.
    "north-east": {Column.REGION: "01E"},  # 195 and 1,324 users
    "south-east": {Column.REGION: "23"},  # 163 and 827
    "great-lakes": {Column.REGION: "45KLMN"},  # 205 and 1,266
    "heartland": {Column.REGION: "678R"},  # 202 and 1,155
    "pacific": {Column.REGION: "9TVY"},  # 178 and 1,468
}

NATURAL_SPLITS: Mapping[tuple[Dataset, SiloSplit], Mapping[str, Rule]] = {
    ("ml-100k", "occupation"): OCCUPATIONS_OF_100K,
    ("ml-100k", "age"): AGES_OF_100K,
    ("ml-100k", "region"): REGIONS,
    ("ml-1m", "occupation"): OCCUPATIONS_OF_1M,
    ("ml-1m", "age"): AGES_OF_1M,
    ("ml-1m", "age-gender"): AGES_AND_GENDERS_OF_1M,
    ("ml-1m", "region"): REGIONS,
}


def silos_of(dataset: Dataset, split: SiloSplit) -> tuple[str, ...]:
    """Names of the silos a split makes, in order.

    Raises:
        ConfigError: this data set has no such split.
    """
    if (dataset, split) == ("ml-1m", "taste"):
        return tuple(TASTES)
    if (dataset, split) not in NATURAL_SPLITS:
        known = [name for owner, name in NATURAL_SPLITS if owner == dataset]
        known += ["taste"] if dataset == "ml-1m" else []
        raise ConfigError(
            f"data.silo_split: {dataset} has no split {split}; choose one of "
            f"{', '.join(known)}."
        )
    return tuple(NATURAL_SPLITS[dataset, split])


def split_silos(
    tables: Mapping[TableName, pa.Table], dataset: Dataset, split: SiloSplit
) -> dict[str, SiloShare]:
    """The rows each silo holds; every user belongs to exactly one silo.

    Raises:
        ConfigError: this data set has no such split.
    """
    silos_of(dataset, split)
    if split == "taste":
        return split_by_taste(tables)
    return split_naturally(tables, NATURAL_SPLITS[dataset, split])


def split_naturally(
    tables: Mapping[TableName, pa.Table], rules: Mapping[str, Rule]
) -> dict[str, SiloShare]:
    """Assign users by their attributes; every silo stocks the whole catalogue."""
    users = tables[TableName.USERS]
    user = positions(tables[TableName.INTERACTIONS][Column.USER], users[Column.USER])
    catalogue = np.ones(len(tables[TableName.ITEMS]), dtype=bool)
    shares = {}
    for silo, rule in rules.items():
        belongs = _members(users, rule)
        shares[silo] = SiloShare(belongs[user], catalogue, belongs)
    owners = np.sum([share.users for share in shares.values()], axis=0)
    assert (owners == 1).all(), "the rules of a split give every user exactly one silo"
    return shares


def _members(users: pa.Table, rule: Rule) -> Rows:
    fits = np.ones(len(users), dtype=bool)
    for column, allowed in rule.items():
        values = users[column]
        if column is Column.REGION:
            values = pc.utf8_slice_codeunits(values, 0, 1)
        fits &= pc.is_in(values, value_set=pa.array(list(allowed))).to_numpy()
    return fits

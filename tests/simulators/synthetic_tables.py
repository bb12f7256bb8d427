"""Invented organisations whose tables behave like real ones, in a fraction of a second.

One `World` (catalogue, tastes, what follows what) is shared by all silos, so there
is something to gain from joining; users are each silo's own. Popularity is Zipf,
every item has a taste cluster and three likely successors: a Markov chain or a
sequence model beats popularity by a wide margin. Users never repeat an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.columns import TableName
from data_contracts.settings.cohort import SiloConfig, TableSource
from data_contracts.tables import SiloTables

START = 1_577_836_800  # 2020-01-01 UTC
CLUSTERS = ("comedy", "drama", "thriller", "family", "romance")
OCCUPATIONS = ("artist", "engineer", "nurse", "student")
REGIONS = ("north", "south")


@dataclass(frozen=True)
class World:
    """What all silos have in common.

    Attributes:
        log_popularity: float [items]; Zipf with exponent 0.8.
        cluster: int [items]; index into `CLUSTERS`.
        log_transition: float [items, items]; bonus of column item after row item.
    """

    log_popularity: NDArray[np.float64]
    cluster: NDArray[np.int64]
    log_transition: NDArray[np.float64]


def world(generator: np.random.Generator, items: int) -> World:
    """Invent a catalogue of `items` items; successors stay inside their cluster."""
    popularity = -0.8 * np.log(1 + generator.permutation(items))
    cluster = generator.integers(len(CLUSTERS), size=items)
    transition = np.zeros((items, items))
    for item in range(items):
        fellows = np.flatnonzero(cluster == cluster[item])
        successors = generator.permutation(fellows[fellows != item])[:3]
        transition[item, successors] = (5.0, 4.5, 4.0)[: len(successors)]
    return World(popularity, cluster, transition)


def histories(
    generator: np.random.Generator, world: World, users: int, length: int
) -> NDArray[np.int64]:
    """Draw each user's items in order, without repetition: int [users, length]."""
    taste = generator.integers(len(CLUSTERS), size=users)
    liking = world.log_popularity + 1.5 * (taste[:, None] == world.cluster)
    everyone = np.arange(users)
    drawn = np.empty((users, length), dtype=np.int64)
    for step in range(length):
        bonus = world.log_transition[drawn[:, step - 1]] if step else 0.0
        # Gumbel-max: the arg max of noisy scores is a draw from their softmax.
        noisy = liking + bonus + generator.gumbel(size=liking.shape)
        drawn[:, step] = noisy.argmax(axis=1)
        liking[everyone, drawn[:, step]] = -np.inf
    return drawn


def synthetic_tables(
    generator: np.random.Generator,
    world: World,
    *,
    users: int,
    length: int = 30,
    user_prefix: str = "",
) -> dict[TableName, pa.Table]:
    """Canonical tables of one silo; interactions in shuffled row order.

    Args:
        generator: draws the users; its state decides every value.
        world: what the silo shares with the others.
        users: number of users.
        length: longest history; users have between two thirds of it and all of it,
            and never more than three quarters of the catalogue.
        user_prefix: put before user ids, to keep silos' users apart.
    """
    items = len(world.cluster)
    length = min(length, 3 * items // 4)
    drawn = histories(generator, world, users, length)
    lengths = generator.integers(2 * length // 3, length + 1, size=users)
    pauses = 1 + generator.geometric(1 / 40_000, size=drawn.shape)
    begins = START + generator.integers(300 * 86_400, size=(users, 1))
    kept = np.arange(length) < lengths[:, None]
    order = generator.permutation(kept.sum())
    owners = np.nonzero(kept)[0][order]
    chosen = drawn[kept][order]
    user_ids = np.array([f"{user_prefix}u{number:05d}" for number in range(users)])
    item_ids = np.array([f"i{number:05d}" for number in range(items)])
    interactions = {
        "user_id": user_ids[owners],
        "item_id": item_ids[chosen],
        "rating": generator.integers(1, 6, size=len(chosen)).astype(np.float64),
        "timestamp": (begins + pauses.cumsum(axis=1))[kept][order],
    }
    catalogue = {
        "item_id": item_ids,
        "title": [f"Film {number}" for number in range(items)],
        "categories": [CLUSTERS[cluster] for cluster in world.cluster],
    }
    people = {
        "user_id": user_ids,
        "age": generator.integers(16, 80, size=users),
        "gender": generator.choice(["F", "M"], size=users),
        "occupation": generator.choice(OCCUPATIONS, size=users),
        "region": generator.choice(REGIONS, size=users),
    }
    return {
        TableName.INTERACTIONS: pa.table(interactions),
        TableName.ITEMS: pa.table(catalogue),
        TableName.USERS: pa.table(people),
    }


def synthetic_silo(
    folder: Path,
    name: str,
    *,
    users: int,
    items: int,
    seed: int,
    world_seed: int = 0,
    length: int = 30,
) -> SiloConfig:
    """Write an invented silo as Parquet under `folder/name`; its configuration.

    Silos with the same `items` and `world_seed` share catalogue and tastes; `seed`
    draws the users.
    """
    shared = world(np.random.default_rng(world_seed), items)
    tables = synthetic_tables(
        np.random.default_rng(seed),
        shared,
        users=users,
        length=length,
        user_prefix=f"{name}-",
    )
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for table_name, table in tables.items():
        pq.write_table(table, place / f"{table_name}.parquet")
    return SiloConfig(
        name=name,
        interactions=TableSource(path=str(place / "interactions.parquet")),
        items=TableSource(path=str(place / "items.parquet")),
        users=TableSource(path=str(place / "users.parquet")),
    )


def small_silos(folder: Path, names: Sequence[str]) -> tuple[SiloConfig, ...]:
    """Silos of 60 people each who share 40 items and tastes."""
    return tuple(
        synthetic_silo(folder, name, users=60, items=40, seed=seed)
        for seed, name in enumerate(names)
    )


def described_catalogue(**items: tuple[str | None, str | None]) -> SiloTables:
    """The tables of a silo that brings its catalogue only: id = (title, categories)."""
    titles, categories = zip(*items.values(), strict=True)
    columns = {"item_id": list(items), "title": titles, "categories": categories}
    return SiloTables({TableName.ITEMS: pa.table(columns)}, "hash")

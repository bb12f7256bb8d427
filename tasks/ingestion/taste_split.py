"""Silos that differ in taste and in what they stock; the headline split of ml-1m.

Five broadcasters, each with a family of genres. A user belongs to the one whose
family takes the largest share of the user's past, relative to its share of all
users' pasts. A silo stocks its family, the blockbusters and a fixed part of the rest;
interactions with what it does not stock never happened there.

What a user likes is judged without any held-out interaction. Those are the last two
that the user has *at the silo*, which may come before the last two overall, because
some of these are not stocked. So a user's past ends before the second-last
blockbuster (stocked everywhere) among all but the last two interactions: whichever
silo the user joins, what is held out there comes later. Blockbusters are counted
without everybody's last two. This covers leave-one-out; a global cut in time may
fall inside a past.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.columns import Column, TableName
from tasks.ingestion.silo_share import Rows, SiloShare, positions

TASTES: Mapping[str, frozenset[str]] = {
    "adventure-channel": frozenset({"Action", "Adventure", "Sci-Fi"}),
    "late-night-cinema": frozenset(
        {"Thriller", "Crime", "Mystery", "Film-Noir", "Horror"}
    ),
    "comedy-club": frozenset({"Comedy"}),
    "drama-theatre": frozenset({"Drama", "War", "Western", "Documentary"}),
    "family-matinee": frozenset(
        {"Animation", "Children's", "Musical", "Fantasy", "Romance"}
    ),
}


@dataclass(frozen=True)
class Stocking:
    """What every silo stocks besides its family.

    Attributes:
        blockbusters: the most popular items, by number.
        rest: share of the other items, drawn by a hash of silo and item.
    """

    blockbusters: int = 600
    rest: float = 0.3


def split_by_taste(
    tables: Mapping[TableName, pa.Table], stocking: Stocking | None = None
) -> dict[str, SiloShare]:
    """Assign users to the silos of `TASTES` and stock the silos.

    Args:
        tables: the canonical tables of the whole data set.
        stocking: left out: 600 blockbusters and 30 % of the rest.
    """
    stocking = stocking or Stocking()
    interactions, items = tables[TableName.INTERACTIONS], tables[TableName.ITEMS]
    user = positions(interactions[Column.USER], tables[TableName.USERS][Column.USER])
    item = positions(interactions[Column.ITEM], items[Column.ITEM])
    time = interactions[Column.TIMESTAMP].to_numpy()
    order = np.lexsort((time, user))  # stable: ties keep the order of the file

    earlier = _rows_left(order, user, np.ones(len(user), dtype=bool)) >= 2
    blockbusters = _most_popular(item[earlier], len(items), stocking.blockbusters)
    past = _rows_left(order, user, earlier & blockbusters[item]) >= 2

    families = _families(items[Column.CATEGORIES])
    silo_of_user = _favourite(
        user[past], families[item[past]], len(tables[TableName.USERS])
    )
    shares = {}
    for index, silo in enumerate(TASTES):
        stocked = families[:, index] | blockbusters
        stocked |= _drawn(silo, items[Column.ITEM], stocking.rest)
        members = silo_of_user == index
        shares[silo] = SiloShare(members[user] & stocked[item], stocked, members)
    return shares


def _rows_left(
    order: NDArray[np.int64], user: NDArray[np.int64], counted: Rows
) -> NDArray[np.int64]:
    """Per row: how many counted rows of the same user come after it in time."""
    up_to = np.cumsum(counted[order])
    last_row = np.searchsorted(user[order], np.arange(user.max() + 1), side="right") - 1
    left = np.empty(len(user), dtype=np.int64)
    left[order] = up_to[last_row[user[order]]] - up_to
    return left


def _most_popular(item: NDArray[np.int64], items: int, number: int) -> Rows:
    popularity = np.bincount(item, minlength=items)
    chosen = np.zeros(items, dtype=bool)
    chosen[np.argsort(-popularity, kind="stable")[:number]] = True
    return chosen


def _families(categories: pa.ChunkedArray) -> Rows:
    """Which families each item belongs to: bool [items, silos]."""
    genres = [frozenset(text.split("|")) for text in categories.to_pylist()]
    return np.array([[bool(g & f) for f in TASTES.values()] for g in genres])


def _favourite(
    user: NDArray[np.int64], families: Rows, users: int
) -> NDArray[np.int64]:
    """Each user's family of largest share over its share overall: int [users]."""
    seen = np.stack([np.bincount(user[f], minlength=users) for f in families.T], axis=1)
    length = np.bincount(user, minlength=users)[:, None]
    share = seen / np.maximum(length, 1)
    overall = seen.sum(axis=0) / max(len(user), 1)
    lift: NDArray[np.float64] = share / np.maximum(overall, 1e-12)
    favourite: NDArray[np.int64] = lift.argmax(axis=1)
    return favourite


def _drawn(silo: str, item_ids: pa.ChunkedArray, share: float) -> Rows:
    """A fixed pseudo-random part of the catalogue, independent between silos."""
    key = f"silorec/taste-split/v1/{silo}".encode()
    threshold = int(share * 2**64)
    digests = (
        hashlib.blake2b(item_id.encode(), digest_size=8, key=key).digest()
        for item_id in item_ids.to_pylist()
    )
    return np.array([int.from_bytes(digest, "big") < threshold for digest in digests])

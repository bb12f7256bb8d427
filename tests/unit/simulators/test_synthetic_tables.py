"""The invented silos: reproducible, and with something in them to learn."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq

from data_contracts.columns import TableName
from tests.simulators.synthetic_tables import synthetic_silo, synthetic_tables, world


def sequences(users: int = 200, items: int = 100) -> list[list[str]]:
    tables = synthetic_tables(
        np.random.default_rng(1), world(np.random.default_rng(0), items), users=users
    )
    frame = tables[TableName.INTERACTIONS].to_pandas().sort_values("timestamp")
    return frame.groupby("user_id")["item_id"].apply(list).tolist()


def test_the_same_seed_gives_the_same_silo(tmp_path):
    made = [
        synthetic_silo(tmp_path / str(n), "a", users=20, items=30, seed=5)
        for n in range(2)
    ]
    for name in TableName:
        one, two = (pq.read_table(silo.sources()[name].path) for silo in made)
        assert one == two


def test_silos_share_the_catalogue_and_have_their_own_users(tmp_path):
    a, b = (
        {
            name: pq.read_table(source.path)
            for name, source in synthetic_silo(
                tmp_path, silo, users=20, items=30, seed=seed
            )
            .sources()
            .items()
        }
        for seed, silo in enumerate("ab")
    )
    assert a[TableName.ITEMS] == b[TableName.ITEMS]
    users = [set(t[TableName.USERS]["user_id"].to_pylist()) for t in (a, b)]
    assert not users[0] & users[1]


def test_nobody_repeats_an_item_and_no_two_times_are_equal():
    for sequence in sequences():
        assert len(set(sequence)) == len(sequence) >= 20


def test_what_comes_next_is_told_by_the_last_item_better_than_by_popularity():
    popular: Counter[str] = Counter()
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for *past, _ in sequences():
        popular.update(past)
        for one, two in pairwise(past):
            after[one][two] += 1
    hits = Counter()
    for *past, target in sequences():
        unseen = [item for item in popular if item not in past]
        for name, score in (("popularity", popular), ("markov", after[past[-1]])):
            best = sorted(unseen, key=lambda i, s=score: (-s[i], -popular[i]))[:10]
            hits[name] += target in best
    assert hits["markov"] > 1.5 * hits["popularity"]

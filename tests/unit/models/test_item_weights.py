"""EASE and ItemKNN against slow computations that follow their definitions."""

import numpy as np
import pytest

from models.recommenders import item_weights
from models.recommenders.item_weights import (
    ItemWeights,
    binary_rows,
    ease,
    item_knn,
    pair_counts,
    whole_gram,
)
from models.sequences import SequenceData

ITEMS = 12
GENERATOR = np.random.default_rng(5)


def users(number: int) -> SequenceData:
    """Histories of 3 to 9 items, some twice, the last two held out."""
    lengths = GENERATOR.integers(3, 10, size=number)
    offsets = np.concatenate([[0], lengths.cumsum()])
    items = GENERATOR.integers(ITEMS - 1, size=offsets[-1]).astype(np.int32)
    return SequenceData(items, offsets, lengths - 2, lengths - 2, lengths - 1)


def matrix_of(*silos: SequenceData) -> np.ndarray:
    rows = [
        [float(item in set(silo.training_history(user))) for item in range(ITEMS)]
        for silo in silos
        for user in range(silo.num_users)
    ]
    return np.array(rows)


SILOS = users(17), users(40), users(3)
X = matrix_of(*SILOS)
GRAM = X.T @ X


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_pairs_of_silos_sum_up_to_the_gram_matrix_of_all_users(monkeypatch, batch):
    monkeypatch.setattr(item_weights, "USERS_PER_PRODUCT", batch)
    summed = sum(pair_counts(silo, ITEMS).astype(np.int64) for silo in SILOS)
    assert len(summed) == ITEMS * (ITEMS + 1) // 2
    assert np.array_equal(whole_gram(summed, ITEMS), GRAM)


def test_held_out_items_are_in_no_pair():
    none = np.array([0])
    data = SequenceData(
        np.arange(3, dtype=np.int32), np.array([0, 3]), none, none, none
    )
    assert not pair_counts(data, ITEMS).any()


@pytest.mark.parametrize("regularization", [0.5, 20.0])
def test_each_column_of_ease_is_the_ridge_regression_on_the_other_items(regularization):
    weights = ease(GRAM, regularization).weights
    for target in range(ITEMS):
        others = np.arange(ITEMS) != target
        features = X[:, others]
        ridge = np.linalg.solve(
            features.T @ features + regularization * np.eye(ITEMS - 1),
            features.T @ X[:, target],
        )
        assert weights[others, target] == pytest.approx(ridge, abs=1e-6)
        assert weights[target, target] == 0


@pytest.mark.parametrize("neighbours", [1, 3, ITEMS, 200])
def test_item_knn_keeps_the_cosines_of_the_nearest_items(neighbours):
    weights = item_knn(GRAM, neighbours).weights
    for target in range(ITEMS):
        cosines = np.zeros(ITEMS)
        for item in range(ITEMS):
            lengths = np.linalg.norm(X[:, item]) * np.linalg.norm(X[:, target])
            if item != target and lengths:
                cosines[item] = X[:, item] @ X[:, target] / lengths
        last = sorted(cosines, reverse=True)[min(neighbours, ITEMS) - 1]
        kept = np.where(cosines >= last - 1e-12, cosines, 0.0)
        assert weights[:, target] == pytest.approx(kept, abs=1e-6)


def test_an_item_that_nobody_has_neither_scores_nor_is_scored():
    assert not GRAM[-1].any()
    for model in (ease(GRAM, 1.0), item_knn(GRAM)):
        assert not model.weights[-1].any()
        assert not model.weights[:, -1].any()


def test_a_history_scores_the_sum_of_its_items_rows_each_once():
    model = ItemWeights(GENERATOR.normal(size=(4, 4)).astype(np.float32))
    histories = [np.array([1, 3, 1], np.int32), np.array([], np.int32)]
    assert binary_rows(histories, 4).tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]
    scores = model.score(histories)
    assert scores[0] == pytest.approx(model.weights[1] + model.weights[3])
    assert not scores[1].any()

import numpy as np
import pytest

from models.full_ranking import rank_held_out
from models.ranking_metrics import metric_sums, ranks_of_targets, total
from models.recommenders.counting import (
    MarkovChain,
    popularity_counts,
    transition_counts,
)
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems
from tests.simulators.sequence_samples import cycling_users

PER_USER = ("train_end", "validation", "test")
EVERYTHING = StockedItems(np.ones(8, dtype=bool))


def test_ranks_agree_with_sorting_every_score():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 6, size=(200, 15)).astype(float)  # many ties
    targets = generator.integers(15, size=200)
    for row, target, rank in zip(
        scores, targets, ranks_of_targets(scores, targets), strict=True
    ):
        ordered = np.sort(row)[::-1]
        places = 1 + np.flatnonzero(ordered == row[target])
        assert rank == pytest.approx(places.mean())


def test_a_model_whose_scores_have_collapsed_is_ranked_in_the_middle():
    flat = metric_sums(np.zeros((4, 101)), np.arange(4), k=10)
    assert flat.hits == 0
    assert flat.reciprocal_ranks == pytest.approx(4 / 51)


def test_scores_that_are_not_numbers_are_ranked_last():
    assert ranks_of_targets(np.full((1, 9), np.nan), np.array([2])) == [9]


def test_metrics_of_a_known_ranking():
    scores = np.array([[9.0, 8.0, 7.0, 6.0]])
    sums = metric_sums(scores, np.array([2]), k=3)
    assert sums.means()["hr"] == 1.0
    assert sums.means()["ndcg"] == pytest.approx(1 / np.log2(4))
    assert sums.means()["mrr"] == pytest.approx(1 / 3)
    log_sum = np.log(np.exp(scores).sum())
    assert sums.means()["nll"] == pytest.approx(log_sum - 7.0)


def test_sums_of_silos_are_the_sums_of_all_users():
    generator = np.random.default_rng(1)
    scores, targets = generator.normal(size=(30, 9)), generator.integers(9, size=30)
    whole = metric_sums(scores, targets, k=3)
    parts = total(metric_sums(scores[i::3], targets[i::3], k=3) for i in range(3))
    assert parts.values() == pytest.approx(whole.values())


def test_seen_and_unstocked_items_do_not_compete():
    data = cycling_users(users=1, items=8, length=5)
    history, target = data.question(0, Window.TEST)
    loud = np.zeros(8, dtype=np.float32)
    loud[history] = 100.0
    outsider = next(i for i in range(8) if i not in {*history.tolist(), target})
    loud[outsider], loud[target] = 50.0, 1.0
    shelf = EVERYTHING.mask.copy()
    shelf[outsider] = False

    def rank(stocked):
        ranking = rank_held_out(
            lambda histories: np.tile(loud, (len(histories), 1)),
            data, Window.TEST, stocked, k=1,
        )  # fmt: skip
        return 1 / ranking.sums.reciprocal_ranks

    assert rank(EVERYTHING) == 2.0
    assert rank(StockedItems(shelf)) == 1.0


def test_the_target_competes_even_if_the_user_has_seen_it():
    n = np.array([3])
    data = SequenceData(np.array([1, 2, 5, 1], np.int32), np.array([0, 4]), n, n - 4, n)
    score = np.zeros((1, 8), np.float32)
    score[0, 1] = 1.0
    ranking = rank_held_out(lambda _: score, data, Window.TEST, EVERYTHING, k=1)
    assert ranking.sums.hits == 1


def test_counts_of_silos_add_up_to_the_pooled_recommender():
    whole = cycling_users(users=12, items=8, length=7)
    silos = [
        SequenceData(
            whole.items[start * 7 : stop * 7],
            whole.offsets[: stop - start + 1],
            *(
                getattr(whole, n)[start:stop]
                for n in ("train_end", "validation", "test")
            ),
        )
        for start, stop in ((0, 5), (5, 12))
    ]
    for count in (popularity_counts, transition_counts):
        summed = sum(count(silo, 8) for silo in silos)
        assert np.array_equal(summed, count(whole, 8))


def test_the_markov_chain_learns_who_follows_whom():
    data = cycling_users(users=60, items=8, length=6)
    chain = MarkovChain.from_counts(
        transition_counts(data, 8), popularity_counts(data, 8)
    )
    ranking = rank_held_out(
        lambda histories: np.stack([chain.score(h) for h in histories]),
        data, Window.TEST, EVERYTHING, k=1,
    )  # fmt: skip
    assert ranking.sums.means()["hr"] == 1.0

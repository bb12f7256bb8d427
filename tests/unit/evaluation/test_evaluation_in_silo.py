"""What a silo answers about a model, and what becomes of the answers."""

import numpy as np
import pytest

from data_contracts.errors import SiloInputError
from data_contracts.records import POOLED_SILOS, MetricRecord, Subject
from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.workspace import Contribution
from models.full_ranking import rank_held_out
from models.parameters import AloneModel, write_vector
from models.ranking_metrics import MetricSums, total
from models.recommenders.building import (
    build_recommender,
    history_scorer,
    initial_vector,
)
from models.recommenders.counting import MarkovChain, transition_counts
from models.recommenders.item_weights import (
    ease,
    item_knn,
    pair_counts,
    whole_gram,
)
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems, Vocabulary
from tasks.evaluation.results import Evaluation
from tasks.evaluation.silo_side import (
    NUM_SUMS,
    SUM_UNIT,
    Question,
    evaluate_model,
    evaluate_popularity,
    split_sums,
)
from tasks.evaluation.task import (
    evaluate_alone,
    evaluate_baselines,
    evaluate_on_silos,
)
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.open_sum import sum_in_the_open
from tests.simulators.sequence_samples import TINY_MODEL, cycling_users

ITEMS = 20
SILOS = ("north", "south", "west")
MODEL = initial_vector(TINY_MODEL, ITEMS)


def question(**evaluation: object) -> Question:
    return Question(
        window=Window.TEST,
        model=TINY_MODEL,
        evaluation=EvaluationConfig(**{"k": 5, **evaluation}),
        num_silos=len(SILOS),
    )


HIDDEN = question(per_silo_metrics=False)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three silos whose users walk round the catalogue; each stocks another part."""
    cohort = InProcessCohort(SILOS, tmp_path_factory.mktemp("silos"))
    for number, workspace in enumerate(cohort.workspaces.values()):
        shelf = np.ones(ITEMS, dtype=bool)
        shelf[number::5] = False
        workspace.put(cycling_users(10 + number, ITEMS, length=8, seed=number))
        workspace.put(Vocabulary(f"i{item:02}" for item in range(ITEMS)))
        workspace.put(StockedItems(shelf))
        workspace.put(AloneModel(MODEL))
    return cohort


def ranked(workspace, stocked=None):
    """The same ranking, without the room."""
    module = build_recommender(TINY_MODEL, ITEMS)
    write_vector(module, MODEL)
    return rank_held_out(
        history_scorer(module, TINY_MODEL.context),
        workspace.get(SequenceData),
        Window.TEST,
        stocked or workspace.get(StockedItems),
        5,
    )


def test_a_silo_answers_with_its_sums_and_shelves_them_with_what_it_recommends(cohort):
    north = cohort.workspaces["north"]
    answer = evaluate_model(north, MODEL, question())
    expected = ranked(north)
    assert answer.sums == expected.sums
    assert answer.recommended == expected.recommended.sum()
    assert answer.stocked == 16
    words = north.take(Contribution).words.view(np.int32)
    sums, recommended = split_sums(words.astype(np.int64))
    assert np.abs(np.subtract(sums.values(), expected.sums.values())).max() <= (
        0.5 / SUM_UNIT
    )
    assert np.array_equal(recommended, expected.recommended)
    assert len(words) == NUM_SUMS + ITEMS


def test_a_silo_that_hides_its_metrics_answers_nothing_but_shelves_the_same(cohort):
    north = cohort.workspaces["north"]
    evaluate_model(north, MODEL, question())
    shown = north.take(Contribution).words
    assert evaluate_model(north, MODEL, HIDDEN) is None
    assert np.array_equal(north.take(Contribution).words, shown)


def test_the_whole_vocabulary_competes_where_that_was_asked_for(cohort):
    north = cohort.workspaces["north"]
    answer = evaluate_model(north, MODEL, question(candidates="vocabulary"))
    everything = StockedItems(np.ones(ITEMS, dtype=bool))
    assert answer.sums == ranked(north, everything).sums
    assert answer.stocked == ITEMS


def test_a_model_whose_scores_are_not_finite_earns_a_sentence_and_no_metric(cohort):
    north = cohort.workspaces["north"]
    broken = MODEL.copy()
    broken[3] = np.nan  # one coordinate of one item's row is enough
    with pytest.raises(SiloInputError, match="scores are not finite"):
        evaluate_model(north, broken, question())


def test_the_most_popular_unseen_items_come_first(cohort):
    north = cohort.workspaces["north"]
    data = north.get(SequenceData)
    targets = [data.question(user, Window.TEST)[1] for user in range(data.num_users)]
    counts = np.bincount(targets, minlength=ITEMS)
    best = evaluate_popularity(north, counts, question(k=ITEMS)).sums.means()
    worst = evaluate_popularity(north, -counts + 10, question(k=ITEMS)).sums.means()
    assert best["mrr"] > worst["mrr"]
    assert best["nll"] < np.log(ITEMS)


def test_silos_that_show_their_sums_need_no_secure_sum_during_rounds(cohort):
    def never(cohort, purpose):
        raise AssertionError("nothing was to be summed")

    result = evaluate_on_silos.fn(cohort, never, MODEL, question())
    assert set(result.per_silo) == set(SILOS)
    expected = total(ranked(workspace).sums for workspace in cohort.workspaces.values())
    assert result.pooled == expected
    assert result.coverage is None


def test_hidden_metrics_leave_only_as_a_sum_within_its_rounding(cohort):
    shown = evaluate_on_silos.fn(
        cohort, sum_in_the_open, MODEL, question(), with_coverage=True
    )
    hidden = evaluate_on_silos.fn(cohort, sum_in_the_open, MODEL, HIDDEN)
    assert hidden.per_silo == {}
    assert hidden.pooled.users == shown.pooled.users == 33
    assert hidden.pooled.hits == shown.pooled.hits
    off = np.abs(np.subtract(hidden.pooled.values(), shown.pooled.values()))
    assert off.max() <= len(SILOS) * 0.5 / SUM_UNIT
    assert hidden.coverage == shown.coverage


def test_coverage_is_the_share_of_items_that_anybody_was_shown(cohort):
    shown = evaluate_on_silos.fn(
        cohort, sum_in_the_open, MODEL, question(), with_coverage=True
    )
    parts = [ranked(workspace).recommended for workspace in cohort.workspaces.values()]
    assert shown.coverage == np.any(parts, axis=0).mean()
    for (_, coverage), part in zip(shown.per_silo.values(), parts, strict=True):
        assert coverage == part.sum() / 16


def test_what_silos_reach_alone_is_asked_of_the_model_they_keep(cohort):
    alone = evaluate_alone.fn(cohort, sum_in_the_open, question())
    together = evaluate_on_silos.fn(cohort, sum_in_the_open, MODEL, question())
    assert alone.subject is Subject.LOCAL_ONLY
    assert alone.pooled == together.pooled  # every silo keeps that very model


def test_baselines_are_made_of_the_counts_of_all_silos(cohort):
    popularity, markov, knn, linear = evaluate_baselines.fn(
        cohort, sum_in_the_open, question()
    )
    subjects = [result.subject for result in (popularity, markov, knn, linear)]
    assert subjects == ["popularity", "markov chain", "ItemKNN", "EASE"]
    data = [workspace.get(SequenceData) for workspace in cohort.workspaces.values()]
    counts = sum(np.bincount(d.training_items(), minlength=ITEMS) for d in data)
    chain = MarkovChain.from_counts(
        sum(transition_counts(d, ITEMS) for d in data), counts
    )
    gram = whole_gram(sum(pair_counts(d, ITEMS).astype(np.int64) for d in data), ITEMS)
    scorers = (
        (markov, lambda histories: np.stack([*map(chain.score, histories)])),
        (knn, item_knn(gram).score),
        (linear, ease(gram, 500.0).score),
    )
    for result, scorer in scorers:
        assert result.pooled == total(
            rank_held_out(
                scorer, workspace.get(SequenceData), Window.TEST,
                workspace.get(StockedItems), 5,
            ).sums
            for workspace in cohort.workspaces.values()
        )  # fmt: skip
    assert markov.ndcg > popularity.ndcg


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        ("MAX_MARKOV_ITEMS", [Subject.POPULARITY, Subject.ITEM_KNN, Subject.EASE]),
        ("MAX_GRAM_ITEMS", [Subject.POPULARITY, Subject.MARKOV]),
    ],
)
def test_catalogues_too_large_for_pairs_of_items_go_without_their_baselines(
    cohort, monkeypatch, limit, left
):
    monkeypatch.setattr(f"tasks.evaluation.task.{limit}", ITEMS - 1)
    results = evaluate_baselines.fn(cohort, sum_in_the_open, question())
    assert [result.subject for result in results] == left


def test_the_regularization_of_ease_is_the_one_that_was_set(cohort):
    usual, strong = (
        evaluate_baselines.fn(
            cohort, sum_in_the_open, question(ease_regularization=value)
        )[-1]
        for value in (0.1, 1e6)
    )
    assert usual.pooled != strong.pooled


def test_a_silo_that_cannot_answer_is_missing_from_the_figures(tmp_path, cohort):
    members = cohort.only(SILOS)
    members.sabotage = {("west", "evaluate_model"): SiloInputError("no")}
    result = evaluate_on_silos.fn(members, sum_in_the_open, MODEL, HIDDEN)
    assert result.pooled.users == 10 + 11


SUMS = MetricSums(users=4, hits=2, gains=1.0, reciprocal_ranks=0.5, nats=8.0)


def evaluation(subject=Subject.FEDERATED, **changes) -> Evaluation:
    return Evaluation(
        subject, Window.TEST, **{"per_silo": {}, "pooled": SUMS, **changes}
    )


def test_an_evaluation_becomes_one_row_per_silo_and_metric():
    shown = evaluation(per_silo={"north": (SUMS, 0.25)}, coverage=0.75)
    rows = {(row.silo, row.metric): row for row in shown.records("run", 3)}
    metrics = ("hr", "ndcg", "mrr", "nll", "coverage")
    assert list(rows) == [(s, m) for s in ("north", POOLED_SILOS) for m in metrics]
    assert rows["north", "coverage"].value == 0.25
    assert rows[POOLED_SILOS, "coverage"].value == 0.75
    assert rows["north", "hr"] == MetricRecord(
        run_id="run", round_number=3, subject="federated", silo="north",
        window="test", metric="hr", value=0.5, users=4,
    )  # fmt: skip


def test_what_was_not_measured_has_no_row():
    assert {row.metric for row in evaluation().records("run", 1)} == {
        "hr", "ndcg", "mrr", "nll"
    }  # fmt: skip
    markov = evaluation(Subject.MARKOV).records("run", 1)
    assert "nll" not in {row.metric for row in markov}


def test_the_headline_names_the_silo_that_fares_worst():
    poor = MetricSums(users=4, gains=0.2)
    shown = evaluation(per_silo={"north": (SUMS, 0.0), "south": (poor, 0.0)})
    assert shown.headline(5.0) == (
        "loss 5.000, validation NDCG 0.2500 (lowest south 0.0500)"
    )
    assert evaluation().headline(5.0) == "loss 5.000, validation NDCG 0.2500"

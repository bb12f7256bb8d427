"""What the records say, figures that can be checked by eye."""

from dataclasses import replace

import pytest

from data_contracts.records import POOLED_SILOS, RunHistory, Subject
from tasks.reporting.findings import (
    comparison,
    comparison_row,
    config_tree,
    final_value,
    headline,
    losers,
    metric_title,
    published_model,
    silo_names,
    worst_served,
)
from tests.simulators.fake_history import failed_history, fake_history

HEADLINES = {
    "raised": (
        fake_history(),
        "Training together raised NDCG@10 from 0.075 (alone, mean of 4 silos) "
        "to 0.100.",
    ),
    "not trained alone": (
        fake_history(subjects=(Subject.FEDERATED,)),
        "Training together reached NDCG@10 0.100; no silo was trained alone, so what "
        "joining brings is not known.",
    ),
    "failed": (
        failed_history(2),
        "The run failed after 2 rounds: 2 silos are left and cohort.min_silos is 3; "
        "the run stopped.",
    ),
}


def with_value(history: RunHistory, subject: Subject, value: float) -> RunHistory:
    metrics = (
        replace(m, value=value)
        if (m.subject, m.metric, m.window) == (subject, "ndcg", "test")
        else m
        for m in history.metrics
    )
    return replace(history, metrics=tuple(metrics))


@pytest.mark.parametrize(("history", "expected"), HEADLINES.values(), ids=HEADLINES)
def test_headline_says_what_joining_brought(history, expected):
    assert headline(history) == expected


def test_headline_says_plainly_that_quality_fell():
    history = with_value(fake_history(), Subject.FEDERATED, 0.05)
    assert headline(history).startswith("Training together lowered NDCG@10 from 0.075")


def test_headline_does_not_claim_a_change_that_cannot_be_seen():
    history = with_value(fake_history(), Subject.FEDERATED, 0.0751)
    assert "did not move NDCG@10: 0.075" in headline(history)


def test_lift_is_relative_to_training_alone():
    assert comparison_row(fake_history(), POOLED_SILOS).lift == pytest.approx(1 / 3)


def test_lift_over_nothing_is_unknown_not_infinite():
    history = with_value(fake_history(), Subject.LOCAL_ONLY, 0.0)
    assert comparison_row(history, POOLED_SILOS).lift is None


def test_a_value_that_is_not_finite_counts_as_missing():
    history = with_value(fake_history(), Subject.FEDERATED, float("nan"))
    assert final_value(history, Subject.FEDERATED, POOLED_SILOS) is None
    assert Subject.FEDERATED not in comparison(history)[0].values


def test_all_silos_come_first_and_every_silo_follows():
    rows = [row.silo for row in comparison(fake_history())]
    assert rows == [POOLED_SILOS, *silo_names(fake_history())]


def test_only_the_silo_whose_own_model_is_better_loses():
    assert [row.silo for row in losers(fake_history(loser="educator"))] == ["educator"]
    assert losers(fake_history()) == ()


def test_worst_served_is_the_lowest_federated_figure():
    history = fake_history()
    figures = {r.silo: r.values[Subject.FEDERATED] for r in comparison(history)[1:]}
    worst = worst_served(history)
    assert worst is not None
    assert worst.silo == min(figures, key=figures.__getitem__)


def test_final_figures_are_those_of_the_published_round():
    history = fake_history(rounds=5)
    late = [replace(m, round_number=6, value=0.5) for m in history.metrics]
    extended = replace(history, metrics=(*history.metrics, *late))
    assert final_value(extended, Subject.FEDERATED, POOLED_SILOS) == 0.1


def test_the_published_model_wins_over_a_later_one():
    history = fake_history(rounds=4)
    models = [replace(m, published=m.round_number == 2) for m in history.models]
    published = published_model(replace(history, models=tuple(models)))
    assert published is not None
    assert published.round_number == 2


@pytest.mark.parametrize("text", ["", "not json", "[1]", "null"])
def test_an_unreadable_configuration_is_empty_and_k_is_the_default(text):
    history = fake_history()
    history = replace(history, run=replace(history.run, config_json=text))
    assert config_tree(history) == {}
    assert metric_title(history, "ndcg") == "NDCG@10"

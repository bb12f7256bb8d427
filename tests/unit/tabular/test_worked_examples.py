"""Rounds over silos against pooled data: the same steps, and the same end."""

import numpy as np
import pytest
from pydantic import ValidationError

from data_contracts.exposure import PLAIN_WARNING, TWO_SILOS_WARNING
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.settings.training import ServerOptimizerConfig
from data_contracts.tabular import ALL_SILOS, TabularTrainingConfig
from models.tabular.building import first_vector
from models.tabular.examples import EXAMPLES, draw_rows, interval_of, pooled_rows
from models.tabular.fitting import best_line, descended, judged
from tasks.global_update.task import update_global_model
from tasks.secure_aggregation.task import aggregate_securely
from tasks.tabular.comparison import compared
from tasks.tabular.silo_side import NUM_FEATURES, rows_of
from tasks.tabular.task import fit_on_silos, make_rows_on_silos, rounds_of, start_of
from tests.simulators.in_process_cohort import InProcessCohort

LINES = ("linear-regression", "logistic-regression")


def config(example: str = "linear-regression", mode: str = "masked", **tabular: object):
    return TabularTrainingConfig.model_validate(
        {
            "example": example,
            "tabular": tabular,
            "secure_aggregation": {"mode": mode},
        }
    )


def trained(wanted: TabularTrainingConfig, folder):
    """(model, losses, cohort) of all rounds, in this process."""
    cohort = InProcessCohort(wanted.silo_names, folder)

    def summed(members, purpose, round_number=0, **kind):
        return aggregate_securely.fn(
            members, purpose, round_number, wanted.secure_aggregation,
            min_silos=wanted.cohort.min_silos, **kind,
        )  # fmt: skip

    job = make_rows_on_silos.fn(cohort, summed, wanted)
    model, losses = start_of(wanted), []
    for number in rounds_of(wanted):
        fitted = fit_on_silos.fn(cohort, model.vector, job, number)
        assert not fitted.failures
        total = summed(
            cohort, "model update", number, kind=job.input_kind(model.vector_hash)
        )
        model, mean = update_global_model.fn(
            model, total, job.encoding, wanted.server_optimizer, number
        )
        losses.append(mean.loss)
    return model, losses, cohort


def tables(wanted: TabularTrainingConfig):
    return [rows_of(wanted, n, fresh=False) for n in range(len(wanted.silo_names))]


@pytest.mark.parametrize("silos", [2, 3])
@pytest.mark.parametrize("example", EXAMPLES)
def test_one_step_a_round_is_pooled_training_step_by_step(tmp_path, example, silos):
    wanted = config(example, silos=silos, local_steps=1, rounds=5, learning_rate=0.1)
    model, losses, _ = trained(wanted, tmp_path)
    task = EXAMPLES[example]
    vector = first_vector(task.model, NUM_FEATURES, seed=0)
    rows = pooled_rows(tables(wanted))
    for loss in losses:
        vector, pooled_loss = descended(task, vector, rows, steps=1, learning_rate=0.1)
        assert loss == pytest.approx(pooled_loss, rel=1e-4)
    assert model.vector == pytest.approx(vector, abs=1e-5)


def test_silos_weigh_the_same_where_that_was_asked_for(tmp_path):
    wanted = config(mode="plain", rounds=1)
    equal = wanted.model_copy(
        update={"server_optimizer": ServerOptimizerConfig(weighting="uniform")}
    )
    model, _, _ = trained(equal, tmp_path)
    start = first_vector("linear", NUM_FEATURES, seed=0)
    task = EXAMPLES["linear-regression"]
    alone = [
        descended(task, start, rows, steps=1, learning_rate=task.learning_rate)[0]
        for rows in tables(equal)
    ]
    assert model.vector == pytest.approx(np.mean(alone, axis=0), abs=1e-6)


@pytest.mark.parametrize("example", LINES)
def test_enough_rounds_end_in_the_line_of_least_loss_of_all_rows(tmp_path, example):
    wanted = config(example, mode="plain", rounds=250)
    model, losses, _ = trained(wanted, tmp_path)
    best = best_line(EXAMPLES[example], pooled_rows(tables(wanted)))
    assert model.vector == pytest.approx(best, abs=1e-3)
    assert losses[-1] < losses[0]


def test_the_line_of_least_squares_is_that_of_the_normal_equations():
    wanted = config()
    rows = pooled_rows(tables(wanted))
    slope, intercept = np.polyfit(rows.features[:, 0], rows.target, deg=1)
    line = best_line(EXAMPLES["linear-regression"], rows)
    assert line == pytest.approx([slope, intercept], abs=1e-5)


def test_no_other_logistic_line_has_a_smaller_loss():
    wanted = config("logistic-regression")
    example, rows = EXAMPLES["logistic-regression"], pooled_rows(tables(wanted))
    line = best_line(example, rows)
    least, _ = judged(example, line, rows)
    for change in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]):
        other = line + np.array(change, dtype=np.float32)
        assert judged(example, other, rows)[0] > least


@pytest.mark.parametrize("silos", [2, 3])
def test_masked_rounds_end_in_the_very_model_of_rounds_in_the_clear(tmp_path, silos):
    wanted = config("mlp", rounds=3, silos=silos)
    clear = config("mlp", mode="plain", rounds=3, silos=silos)
    (hidden, losses, _), (open_, open_losses, _) = (
        trained(wanted, tmp_path / "masked"),
        trained(clear, tmp_path / "plain"),
    )
    assert np.array_equal(hidden.vector, open_.vector)
    assert losses == open_losses


def test_together_is_worth_more_than_each_silo_alone_where_rows_differ(tmp_path):
    wanted = config("mlp", mode="plain")
    model, losses, _ = trained(wanted, tmp_path)
    result = compared(wanted, model.vector, losses, "run")
    together = result.federated.losses[ALL_SILOS]
    assert together < 0.7 * min(m.losses[ALL_SILOS] for m in result.alone.values())
    assert together < 1.5 * result.pooled.losses[ALL_SILOS]


def test_silos_see_different_parts_of_the_line_and_fresh_rows_are_others():
    wanted = config(silos=4)
    drawn = tables(wanted)
    assert [len(rows.target) for rows in drawn] == [24, 12, 8, 6]
    for number, rows in enumerate(drawn):
        low, high = interval_of(number, 4)
        assert low <= rows.features.min() < rows.features.max() <= high
    fresh = rows_of(wanted, 0, fresh=True)
    assert not np.isin(fresh.features, drawn[0].features).any()
    again = draw_rows(EXAMPLES["linear-regression"], 0, 4, rows=24, noise=1.5, seed=0)
    assert np.array_equal(again.target, drawn[0].target)


@pytest.mark.parametrize(
    ("mode", "silos", "told"),
    [
        ("masked", 2, (TWO_SILOS_WARNING,)),
        ("masked", 3, ()),
        ("plain", 2, (PLAIN_WARNING,)),
    ],
)
def test_a_result_says_what_its_sums_did_not_hide(mode, silos, told):
    wanted = config(mode=mode, silos=silos)
    vector = first_vector("linear", NUM_FEATURES, seed=0)
    assert compared(wanted, vector, [1.0], "run").cautions == told


@pytest.mark.parametrize(
    "secure", [{"ring_bits": 8}, {"groups": 2}, {"min_silos_per_item": 2}]
)
def test_what_examples_do_not_do_is_refused_in_a_sentence(secure):
    with pytest.raises(ValidationError, match="add all updates up at once"):
        TabularTrainingConfig(
            secure_aggregation=SecureAggregationConfig.model_validate(secure)
        )

"""A silo's privacy ledger: charged first, charged once, never forgotten."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import ChargedPlan, PrivacyPlan
from data_contracts.settings.cohort import SiloConfig
from data_contracts.settings.privacy import PrivacyConfig
from data_contracts.workspace import SiloWorkspace
from models.privacy.accounting import epsilon
from tasks.privacy_budget.entries import charged, period_of
from tasks.privacy_budget.ledger import LEDGER, Ledger
from tasks.privacy_budget.silo_side import charge_run, noise_needed, settle_run

PRIVACY = PrivacyConfig(
    mode="local", epsilon=4.0, declared_users=1000, sampling_probability=0.2
)
PLAN = PrivacyPlan(GaussianEvent(2.0, 0.2, 50), popularity=20.0)


@pytest.fixture
def silo(tmp_path):
    def workspace(run_id="run-1"):
        return SiloWorkspace(SiloConfig(name="north"), run_id, tmp_path / "north")

    return workspace


def cost(*plans):
    return epsilon([e for plan in plans for e in plan.events], PRIVACY.target_delta)


def test_a_run_is_charged_in_full_before_its_first_step(silo):
    workspace = silo()
    told = charge_run(workspace, PRIVACY, PLAN)
    assert told.epsilon == pytest.approx(cost(PLAN))
    assert (told.entries, told.budget) == (1, 4.0)
    assert workspace.get(ChargedPlan).plan == PLAN


def test_the_same_run_again_is_charged_once(silo):
    first = charge_run(silo(), PRIVACY, PLAN)
    again = charge_run(silo(), PRIVACY, PLAN)
    assert again == first


def test_a_run_that_dies_stays_charged_in_full(silo):
    charge_run(silo(), PRIVACY, PLAN)
    told = charge_run(silo("run-2"), PRIVACY, PLAN)
    assert told.epsilon == pytest.approx(cost(PLAN, PLAN), rel=1e-3)


def test_a_settled_run_costs_what_it_did(silo):
    workspace = silo()
    charge_run(workspace, PRIVACY, PLAN)
    told = settle_run(workspace, PRIVACY, 20)
    done = replace(PLAN, training=replace(PLAN.training, steps=20))
    assert told.epsilon == pytest.approx(cost(done))
    assert not workspace.has(ChargedPlan)
    assert settle_run(workspace, PRIVACY, 20) == told


def test_a_settled_run_comes_back_for_nothing_and_trains_nothing(silo):
    workspace = silo()
    charge_run(workspace, PRIVACY, PLAN)
    settled = settle_run(workspace, PRIVACY, 20)
    assert charge_run(workspace, PRIVACY, PLAN) == settled
    left = workspace.get(ChargedPlan).plan
    assert left.training.steps == 0
    assert left.releases == PLAN.releases
    assert settle_run(workspace, PRIVACY, 20) == settled
    assert len(Ledger(workspace.folder).entries()) == 2


@pytest.mark.parametrize("steps", [51, 10**6])
def test_more_steps_than_were_charged_are_not_settled(silo, steps):
    workspace = silo()
    charge_run(workspace, PRIVACY, PLAN)
    with pytest.raises(PrivacyBudgetError, match="did not charge"):
        settle_run(workspace, PRIVACY, steps)


def test_a_run_that_was_never_charged_is_not_settled(silo):
    with pytest.raises(PrivacyBudgetError, match="did not charge"):
        settle_run(silo(), PRIVACY, 0)


def test_the_same_run_may_not_come_back_with_another_plan(silo):
    charge_run(silo(), PRIVACY, PLAN)
    with pytest.raises(PrivacyBudgetError, match="other steps or noise"):
        charge_run(silo(), PRIVACY, replace(PLAN, popularity=None))


def test_a_run_that_does_not_fit_is_refused_with_the_largest_that_does(silo):
    charge_run(silo(), PRIVACY, PLAN)
    large = replace(PLAN, training=replace(PLAN.training, steps=5000))
    with pytest.raises(PrivacyBudgetError, match="largest number that fits is") as told:
        charge_run(silo("run-2"), PRIVACY, large)
    most = int(told.value.message.split("fits is ")[1].split(";")[0])
    assert 0 < most < 5000
    fits = replace(PLAN, training=replace(PLAN.training, steps=most))
    assert charge_run(silo("run-3"), PRIVACY, fits).epsilon <= 4.0


def test_a_person_in_two_silos_is_charged_for_both(silo):
    shared = PRIVACY.model_copy(update={"max_silos_per_user": 2, "epsilon": 8.0})
    told = charge_run(silo(), shared, PLAN)
    assert told.epsilon == pytest.approx(cost(PLAN, PLAN), rel=1e-3)


def test_delta_is_fixed_for_life(silo):
    charge_run(silo(), PRIVACY, PLAN)
    other = PRIVACY.model_copy(update={"delta": 1e-9})
    with pytest.raises(PrivacyBudgetError, match="fixed for its life"):
        charge_run(silo("run-2"), other, PLAN)


def test_what_is_left_lasts_for_all_planned_runs(silo):
    weekly = PRIVACY.model_copy(update={"planned_runs": 10})
    noise = noise_needed(silo(), weekly, 50, PLAN)
    plan = replace(PLAN, training=GaussianEvent(noise, 0.2, 50))
    for number in range(10):
        told = charge_run(silo(f"run-{number}"), PRIVACY, plan)
    assert 3.9 < told.epsilon <= 4.0
    with pytest.raises(PrivacyBudgetError, match="would have spent"):
        charge_run(silo("one-too-many"), PRIVACY, plan)


def test_a_run_that_is_resumed_keeps_its_noise(silo):
    charge_run(silo(), PRIVACY, PLAN)
    assert noise_needed(silo(), PRIVACY, 50, PLAN) == 2.0


def test_two_runs_at_once_cannot_both_spend_the_rest(silo):
    """Each alone would fit."""
    alone = replace(PLAN, training=replace(PLAN.training, steps=80))
    assert cost(alone) <= PRIVACY.epsilon < cost(alone, alone)

    def charge(number):
        try:
            return charge_run(silo(f"run-{number}"), PRIVACY, alone).epsilon
        except PrivacyBudgetError:
            return None

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(charge, range(4)))
    assert sum(outcome is not None for outcome in outcomes) == 1


CHANGES = {
    "less noise was noted": lambda rows: rows[0].update(
        plan=rows[0]["plan"].replace("2.0", "9.0")
    ),
    "an entry was lost": lambda rows: rows.pop(0),
    "entries were swapped": lambda rows: rows[0].update(
        sequence=2, hash=rows[1]["hash"]
    ),
    "it was dated back": lambda rows: rows[1].update(at="2020-01-01T00:00:00+00:00"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_ledger_lets_nothing_be_trained(silo, change):
    for run in ("run-1", "run-2"):
        charge_run(silo(run), PRIVACY, PLAN)
    ledger = Ledger(silo().folder)
    rows = [vars(entry).copy() for entry in ledger.entries()]
    CHANGES[change](rows)
    shutil.rmtree(ledger.path)
    write_deltalake(ledger.path, pa.Table.from_pylist(rows))
    with pytest.raises(PrivacyBudgetError, match="was changed: entry"):
        charge_run(silo("run-3"), PRIVACY, PLAN)


def test_a_ledger_without_its_log_is_no_empty_ledger(silo):
    charge_run(silo(), PRIVACY, PLAN)
    shutil.rmtree(silo().folder / LEDGER / "_delta_log")
    with pytest.raises(PrivacyBudgetError, match="its log is gone"):
        charge_run(silo("run-2"), PRIVACY, PLAN)


def test_a_new_period_has_a_new_budget(silo):
    charge_run(silo(), PRIVACY, PLAN)
    entries = Ledger(silo().folder).entries()
    next_year = f"{int(entries[0].at[:4]) + 1}-01-01T00:00:00+00:00"
    assert charged(entries, "year", next_year) == ()
    assert charged(entries, "life", next_year) == PLAN.events


def test_periods_are_those_of_the_calendar():
    at = "2026-11-23T23:59:59+00:00"
    names = [period_of(at, period) for period in ("life", "year", "quarter", "month")]
    assert names == ["life", "2026", "2026 quarter 4", "2026-11"]


def test_nothing_but_public_numbers_is_in_the_ledger(silo):
    charge_run(silo(), PRIVACY, PLAN)
    (entry,) = Ledger(silo().folder).entries()
    assert json.loads(entry.plan) == PLAN.as_json()
    assert set(vars(entry)) == {
        "sequence", "at", "run_id", "kind", "plan", "delta", "previous", "hash"
    }  # fmt: skip


def test_a_disk_that_takes_nothing_stops_the_run(silo, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.privacy_budget.ledger.write_deltalake", full)
    workspace = silo()
    with pytest.raises(PrivacyBudgetError, match="so nothing may be trained"):
        charge_run(workspace, PRIVACY, PLAN)
    assert not workspace.has(ChargedPlan)

"""Whole private runs: charged, trained, settled, recorded, and silent otherwise."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from data_contracts.records import PrivacyRecord
from tasks.lineage.store import LineageStore
from tasks.privacy_budget.ledger import Ledger
from tasks.reporting.report import report_path
from tests.simulators.small_federation import small_config, train
from tests.simulators.three_formats import SILOS

pytestmark = pytest.mark.slow


def private(silos, output, mode, metrics, **changes):
    privacy = {
        "mode": mode,
        "declared_users": 100,
        "delta": 1e-3,
        "sampling_probability": 0.5,
        "steps_per_round": 3,
        "metrics": metrics,
    }
    sections = {"privacy": privacy | changes, "cohort": {"min_silos": 3}}
    return train(small_config(silos, output, **sections))


@pytest.fixture(scope="module", params=["local", "joint"])
def run(request, silos, tmp_path_factory, ray_session, prefect_session):
    output = tmp_path_factory.mktemp("private")
    return private(silos, output, request.param, "noisy")


def test_every_silo_charged_before_and_settled_after(run):
    steps = 2 * (1 if run.config.privacy.mode == "joint" else 3)
    for silo in SILOS:
        entries = Ledger(run.store_folder / "silos" / silo).entries()
        assert [entry.kind for entry in entries] == ["intent", "settled"]
        assert [entry.events[0].steps for entry in entries] == [steps, steps]


def test_the_lineage_mirrors_every_ledger(run):
    rows = LineageStore(run.store_folder).read(PrivacyRecord)
    assert {(row.silo, row.entry) for row in rows} == {
        (silo, entry) for silo in SILOS for entry in ("charged", "settled")
    }
    for row in rows:
        entries = Ledger(run.store_folder / "silos" / row.silo).entries()
        assert row.ledger_head == entries[row.ledger_entries - 1].hash
        assert 0 < row.epsilon <= row.budget == 8.0


def test_every_round_says_how_much_noise_was_in_it(run):
    charged = {row.noise_multiplier for row in run.history.privacy}
    for row in run.history.rounds:
        assert row.noise_multiplier >= max(charged) * (1 - 1e-12) > 0


def test_rounds_tell_neither_losses_nor_metrics_nor_times(run):
    assert all(math.isnan(row.train_loss) for row in run.history.rounds)
    assert all(row.train_seconds == 0 for row in run.history.participants)
    assert {row.window for row in run.history.metrics} == {"test"}
    assert {row.subject for row in run.history.metrics} == {"federated"}
    assert not run.history.decisions


def test_contracts_say_only_whether_they_hold(run):
    assert {row.unexpected_count for row in run.history.contracts} == {""}


def test_the_report_states_the_guarantee(run):
    text = Path(report_path(run.history, run.config.output_folder)).read_text("utf-8")
    assert "Differential privacy for every person" in text
    assert "No differential privacy" not in text
    assert "nan" not in text.lower().replace("tenant", "")


def test_exact_metrics_are_red(silos, tmp_path, ray_session, prefect_session):
    run = private(silos, tmp_path, "local", "trusted-coordinator")
    text = Path(report_path(run.history, run.config.output_folder)).read_text("utf-8")
    assert '<li class="alarm">OUTSIDE the guarantee' in text


def test_in_silo_metrics_stay_there(silos, tmp_path, ray_session, prefect_session):
    run = private(silos, tmp_path, "local", "in-silo", popularity_epsilon=0)
    assert not run.history.metrics
    for silo in SILOS:
        assert (tmp_path / "silos" / silo / "own_metrics.jsonl").exists()

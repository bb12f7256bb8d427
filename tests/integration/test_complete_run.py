"""A whole run over own tables in three formats, through real Ray and Prefect."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from data_contracts.records import (
    KEYS,
    POOLED_SILOS,
    ModelStageRecord,
    PrivacyAuditRecord,
    PrivacyRecord,
    RetrainingRecord,
    RunStatus,
    Subject,
)
from tasks.lineage.ancestry import models_with, which_made
from tasks.lineage.store import LineageStore
from tasks.reporting.report import report_path
from tests.simulators.sabotage import AnswerLate, meddling
from tests.simulators.small_federation import small_config, train
from tests.simulators.three_formats import SILOS

pytestmark = pytest.mark.slow


def test_the_run_ends_completed_and_publishes_the_best_rounds_model(finished_run):
    history, published = finished_run.history, finished_run.published
    assert history.run.status == RunStatus.COMPLETED
    assert published in history.models
    assert published.sha256 in {row.model_sha256 for row in history.rounds}
    content = Path(published.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == published.sha256


ELSEWHERE = {
    PrivacyRecord,
    PrivacyAuditRecord,
    ModelStageRecord,
    RetrainingRecord,
}


@pytest.mark.parametrize("record", set(KEYS) - ELSEWHERE, ids=lambda r: r.__name__)
def test_every_lineage_table_has_rows_of_the_run(finished_run, record):
    store = LineageStore(finished_run.store_folder)
    assert store.read(record, run_id=finished_run.published.run_id)


def test_every_silo_contributed_to_every_round_with_data_and_commitment(finished_run):
    participants = finished_run.history.participants
    assert {(row.round_number, row.silo) for row in participants} == {
        (number, silo) for number in (1, 2) for silo in SILOS
    }
    assert all(row.contributed and not row.reason for row in participants)
    assert all(row.data_snapshot_hash for row in participants)
    commitments = [row.update_commitment for row in participants]
    assert len(set(commitments)) == len(commitments)


def test_every_contract_held_at_every_silo(finished_run):
    contracts = finished_run.history.contracts
    assert {row.silo for row in contracts} == set(SILOS)
    assert all(row.success for row in contracts)


def test_training_together_beats_popularity_and_training_alone(finished_run):
    ndcg = {
        row.subject: row.value
        for row in finished_run.history.metrics
        if (row.window, row.metric, row.silo) == ("test", "ndcg", POOLED_SILOS)
    }
    assert ndcg[Subject.FEDERATED] > 2 * ndcg[Subject.POPULARITY]
    assert ndcg[Subject.FEDERATED] > ndcg[Subject.LOCAL_ONLY]


def test_the_report_exists_and_names_every_silo(finished_run):
    folder = finished_run.config.output_folder
    text = Path(report_path(finished_run.history, folder)).read_text("utf-8")
    assert all(silo in text for silo in SILOS)
    assert finished_run.published.sha256 in text


def test_nothing_unfinished_is_left_behind(finished_run):
    assert not list(finished_run.store_folder.glob("lineage/unfinished/*"))


def test_lineage_names_all_silos_and_snapshots_of_the_model(finished_run):
    lineage = which_made(
        LineageStore(finished_run.store_folder), finished_run.published.sha256[:12]
    )
    (share,) = lineage.shares
    told = {(row.silo, row.data_snapshot_hash) for row in share.participants}
    recorded = {
        (row.silo, row.data_snapshot_hash) for row in finished_run.history.participants
    }
    assert told == recorded
    assert {silo for silo, _ in told} == set(SILOS)


@pytest.mark.parametrize("silo", SILOS)
def test_lineage_finds_the_model_from_each_silos_snapshot(finished_run, silo):
    snapshot = next(
        row.data_snapshot_hash
        for row in finished_run.history.participants
        if row.silo == silo
    )
    models = models_with(LineageStore(finished_run.store_folder), silo, snapshot[:12])
    assert finished_run.published in models


def test_the_run_shows_its_artifacts_in_prefect(finished_run):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"rounds", "run-summary", "run-results", "run-comparison"} <= keys


def test_other_order_of_silos_and_answers_gives_the_same_bytes(
    finished_run, silos, tmp_path
):
    late = AnswerLate({"north": 0.08, "south": 0.04, "west": 0.0})
    with meddling(late):
        again = train(small_config(silos[::-1], tmp_path))
    assert again.published.sha256 == finished_run.published.sha256
    assert models_of(again) == models_of(finished_run)


def models_of(run) -> list[str]:
    return [row.model_sha256 for row in run.history.rounds]

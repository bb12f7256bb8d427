"""Retraining after retraining on tables that grow, each end on record."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from data_contracts.errors import QuorumLostError
from data_contracts.presets import merged
from data_contracts.progress import listening
from data_contracts.records import MetricRecord, RetrainingRecord, Subject
from tasks.lineage.registry import read_registry
from tasks.lineage.store import open_store
from tests.simulators.growing_tables import GrowingSilo
from tests.simulators.in_process_cohort import silos_in_process
from tests.simulators.small_federation import Notebook, small_config
from tests.simulators.synthetic_tables import small_silos

pytestmark = pytest.mark.slow

SILOS = ("north", "south", "west")
FAST = {
    "schedule": {"rounds": 2},
    "local_training": {"epochs": 2},
    "evaluation": {"local_only": False},
    "contracts": {"min_interactions": 100},
}


@pytest.fixture(autouse=True)
def silos_without_ray(prefect_session):
    with (
        patch("flows.federated_training.open_cohort", silos_in_process),
        patch("flows.scheduled_retraining.open_cohort", silos_in_process),
    ):
        yield


class Federation:
    """Three growing silos and the retrainings that they went through."""

    def __init__(self, folder: Path) -> None:
        configs = small_silos(folder / "tables", SILOS)
        self.silos = {config.name: GrowingSilo(config) for config in configs}
        self.output = folder / "output"
        self.notes: list[str] = []
        for silo in self.silos.values():
            silo.show(0.6)

    def retrain(self, **sections) -> RetrainingRecord:
        from flows.scheduled_retraining import scheduled_retraining

        configs = [silo.config for silo in self.silos.values()]
        config = small_config(configs, self.output, **merged(FAST, sections))
        notebook = Notebook()
        with listening(notebook):
            record = scheduled_retraining(config)
        self.notes += notebook.notes
        return record

    @property
    def store(self):
        return open_store(str(self.output))

    @property
    def registry(self):
        return read_registry(self.store, "small")

    def champion(self) -> str:
        return self.registry.champion.sha256

    def stages(self) -> list[str]:
        return [move.stage for move in self.registry.moves]


@pytest.fixture
def federation(tmp_path):
    return Federation(tmp_path)


# Whether a small model is better by chance is not what these tests are about.
LENIENT = {"retraining": {"max_regression": 1.0, "max_silo_regression": 1.0}}


def test_what_is_new_is_trained_from_the_champion_and_what_is_not_is_left(federation):
    first = federation.retrain()
    assert first.outcome == "promoted"
    assert first.new_silos == 3
    again = federation.retrain()
    assert (again.outcome, again.challenger_sha256) == ("nothing new", "")
    federation.silos["north"].show(0.8)
    later = federation.retrain(**LENIENT)
    assert (later.outcome, later.new_silos) == ("promoted", 1)
    assert later.champion_sha256 == first.challenger_sha256
    assert federation.champion() == later.challenger_sha256
    assert federation.stages() == ["champion", "retired", "champion"]
    told = federation.store.read(RetrainingRecord)
    assert [row.outcome for row in told] == ["promoted", "nothing new", "promoted"]


def test_the_champion_is_ranked_beside_its_challenger_on_the_same_people(federation):
    federation.retrain()
    federation.silos["north"].show(0.8)
    federation.retrain(**LENIENT)
    run = federation.registry.versions[-1].run_id
    rows = federation.store.read(MetricRecord, run_id=run)
    users = {
        subject: {
            row.silo: row.users
            for row in rows
            if (row.subject, row.window, row.metric) == (subject, "test", "ndcg")
        }
        for subject in (Subject.FEDERATED, Subject.STARTED_FROM)
    }
    assert users[Subject.FEDERATED] == users[Subject.STARTED_FROM]
    assert set(users[Subject.FEDERATED]) == {*SILOS, "all silos"}
    before = [
        row.value
        for row in rows
        if (row.subject, row.window, row.metric) == ("started from", "test", "ndcg")
    ]
    assert len(set(before)) > 1


def test_data_that_breaks_the_contract_is_refused_and_the_champion_stays(federation):
    first = federation.retrain(cohort={"min_silos": 2})
    federation.silos["north"].show(0.8)
    federation.silos["north"].spoil()
    refused = federation.retrain(cohort={"min_silos": 2})
    assert refused.outcome == "refused by the data contract"
    assert (refused.new_silos, refused.quarantined_silos) == (0, 1)
    assert "north" in refused.sentence
    assert "rating" in refused.sentence
    assert federation.champion() == first.challenger_sha256
    assert len(federation.registry.versions) == 1


def test_below_the_quorum_nothing_is_trained(federation):
    federation.retrain()
    federation.silos["north"].show(0.8)
    federation.silos["south"].spoil()
    refused = federation.retrain()
    assert refused.outcome == "refused by the data contract"
    assert "cohort.min_silos is 3" in refused.sentence


def test_a_training_that_makes_nothing_better_is_refused_by_the_gate(federation):
    first = federation.retrain()
    federation.silos["north"].show(0.8)
    refused = federation.retrain(local_training={"epochs": 2, "learning_rate": 9.0})
    assert refused.outcome == "refused by the gate"
    assert federation.champion() == first.challenger_sha256


def test_the_gate_refuses_what_does_not_improve_enough(federation):
    """No model is better than popularity by being popularity."""
    federation.retrain()
    federation.silos["north"].show(0.8)
    from flows import scheduled_retraining as flow

    honest = flow.read_metrics

    def worse(config, run_id):
        return tuple(
            row
            if row.subject != Subject.STARTED_FROM
            else type(row)(**{**vars(row), "value": row.value + 0.5})
            for row in honest(config, run_id)
        )

    with patch.object(flow, "read_metrics", worse):
        refused = federation.retrain()
    assert refused.outcome == "refused by the gate"
    assert "of the champion" in refused.sentence
    assert federation.stages() == ["champion", "rejected"]


APPROVAL = {"retraining": {"promotion": "approval", "approval_hours": 0.001}}


def test_a_candidate_whom_nobody_decides_on_in_time_stays_one(federation):
    record = federation.retrain(**APPROVAL)
    assert record.outcome == "awaits approval"
    assert federation.stages() == ["candidate"]
    assert federation.registry.champion is None


@pytest.mark.parametrize(
    ("decision", "outcome", "stage"),
    [
        ("promote", "promoted", "champion"),
        ("keep the champion", "refused by a person", "rejected"),
    ],
)
def test_a_person_decides_on_the_page_of_the_run(federation, decision, outcome, stage):
    from prefect.flow_runs import resume_flow_run
    from prefect.runtime import flow_run

    from tasks.promotion import task

    asked = []

    def answer(*arguments, **options):
        asked.append(arguments)
        word = {"decision": decision, "reason": "looked at the report"}
        run_id = flow_run.id

        def resume():
            for _ in range(120):
                with suppress(Exception):
                    resume_flow_run(run_id, run_input=word)
                    return
                time.sleep(0.5)

        threading.Thread(target=resume, daemon=True).start()
        return honest(*arguments, **options)

    honest = task.pause_flow_run
    with patch.object(task, "pause_flow_run", answer):
        record = federation.retrain(
            retraining={"promotion": "approval", "approval_hours": 0.05}
        )
    assert asked
    assert (record.outcome, record.sentence) == (outcome, "looked at the report")
    assert federation.stages() == ["candidate", stage]
    assert federation.registry.moves[-1].decided_by == "person"


def test_a_retraining_that_died_before_its_decision_is_judged_not_trained_again(
    federation,
):
    from flows import scheduled_retraining as flow

    def die(*_, **__):
        raise QuorumLostError("the process ends here")

    with patch.object(flow, "judge_challenger", die), pytest.raises(QuorumLostError):
        federation.retrain()
    (left,) = federation.registry.versions
    assert federation.stages() == []
    record = federation.retrain()
    assert record.outcome == "promoted"
    assert record.challenger_sha256 == left.sha256
    assert len(federation.registry.versions) == 1


PRIVATE = {
    "retraining": {"approval_hours": 0.001},
    "privacy": {
        "mode": "local",
        "epsilon": 2.0,
        "delta": 1e-3,
        "declared_users": 100,
        "sampling_probability": 0.5,
        "noise_multiplier": 4.0,
        "popularity_epsilon": 0.0,
        "metrics": "in-silo",
    },
    "model": {"items": "table"},
}


def test_a_spent_budget_is_refused_before_anything_is_trained(federation):
    first = federation.retrain(**PRIVATE)
    assert first.outcome == "awaits approval"
    assert "no metrics" in first.sentence
    for _ in range(20):
        federation.silos["north"].show(0.7)
        last = federation.retrain(**PRIVATE)
        if last.outcome != "awaits approval":
            break
    assert last.outcome == "refused by the privacy budget"
    assert "epsilon" in last.sentence

"""What a round is computed again from, and how the two are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import (
    FailureReason,
    LineageError,
    NotRecordedError,
    UsageError,
)
from data_contracts.presets import PRESETS, merged
from data_contracts.records import RunHistory, RunStatus, Verdict
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.workspace import SiloFailure, SiloReplies
from models.parameters import Vector
from models.recommenders.building import initial_vector, layout_for
from models.weighted_mean import WeightedMean
from tasks.lineage.model_files import save_model
from tasks.lineage.recorded_rounds import recorded_rounds
from tests.simulators.recorded_runs import (
    MARCH,
    decision_record,
    model_record,
    participant_record,
    round_record,
    run_record,
)

ITEMS = ("i1", "i2", "i3")
SMALL = {"model": {"dim": 8, "blocks": 1}}


def config(**sections) -> FederatedTrainingConfig:
    tree = merged(merged(PRESETS["ml-100k"], SMALL), sections)
    return FederatedTrainingConfig.model_validate(tree)


def vector_of(chosen: FederatedTrainingConfig, seed: int) -> Vector:
    model = chosen.model.model_copy(update={"init_seed": seed})
    return initial_vector(model, len(ITEMS))


def saved(folder: Path, chosen: FederatedTrainingConfig, vector: Vector) -> str:
    tensors = layout_for(chosen.model, len(ITEMS)).split(vector)
    return save_model(folder, tensors, {"model": "{}"}, ITEMS).sha256


def told(folder: Path, chosen: FederatedTrainingConfig, rounds: int = 3) -> RunHistory:
    """A run whose round r left `vector_of(r)` behind; round 2 was rejected."""
    verdicts = {2: (Verdict.REJECTED, Verdict.LEARNING_RATE_CUT)}
    hashes = {
        number: saved(folder, chosen, vector_of(chosen, number - (number == 2)))
        for number in range(1, rounds + 1)
    }
    return RunHistory(
        run=run_record(
            "run",
            1,
            status=RunStatus.COMPLETED,
            config_json=chosen.model_dump_json(),
            config_hash=chosen.config_hash(),
        ),
        contracts=(),
        rounds=tuple(
            replace(round_record("run", n), model_sha256=h) for n, h in hashes.items()
        ),
        participants=tuple(
            participant_record("run", n, silo, contributed=(n, silo) != (3, "west"))
            for n in hashes
            for silo in ("north", "south", "west")
        ),
        phases=(),
        metrics=(),
        decisions=tuple(
            decision_record("run", n, verdict)
            for n in hashes
            for verdict in verdicts.get(n, (Verdict.ACCEPTED,))
        ),
        models=tuple(
            replace(model_record("run", n, ""), sha256=h) for n, h in hashes.items()
        ),
    )


def mean(loss: float = 2.5, norm: float = 1.5) -> WeightedMean:
    """As `round_record` says: loss 2.5, and an update of this norm."""
    return WeightedMean(np.array([norm]), 1.0, loss, 0)


def test_a_round_of_federated_averaging_follows_from_the_model_before_it(tmp_path):
    found = recorded_rounds(told(tmp_path, config()), tmp_path, 3)
    (one,) = found.rounds
    assert not found.from_start
    assert np.array_equal(found.vector_before(), vector_of(config(), 1))
    assert one.cuts == 1
    assert one.contributors == {"north", "south"}
    assert set(one.commitments) == {"north", "south"}
    assert found.cohort == ("north", "south", "west")
    assert found.vocabulary.items == ITEMS
    assert found.config.output_folder == str(tmp_path)


@pytest.mark.parametrize(
    "sections",
    [
        {"server_optimizer": {"name": "adam"}},
        {"secure_aggregation": {"ring_bits": 8}},
    ],
)
def test_what_remembers_earlier_rounds_is_computed_again_from_the_first(
    tmp_path, sections
):
    found = recorded_rounds(told(tmp_path, config(**sections)), tmp_path, 3)
    assert [one.round_number for one in found.rounds] == [1, 2, 3]
    assert [one.cuts for one in found.rounds] == [0, 0, 1]
    assert [one.accepted for one in found.rounds] == [True, False, True]
    assert found.from_start
    assert found.base is None


def test_a_user_can_ask_for_all_rounds(tmp_path):
    history = told(tmp_path, config())
    found = recorded_rounds(history, tmp_path, 3, from_start=True)
    assert len(found.rounds) == 3


def test_equal_means_every_bit_of_the_model(tmp_path):
    found = recorded_rounds(told(tmp_path, config()), tmp_path, 3)
    (one,) = found.rounds
    silos = {"north": True, "south": None}
    right = vector_of(config(), 3)
    assert found.compared(one, right, mean(), silos).equal
    wrong = right.copy()
    wrong[0] = np.nextafter(wrong[0], np.float32(1), dtype=np.float32)
    differing = found.compared(one, wrong, mean(), {"north": True, "south": False})
    assert not differing.equal
    assert differing.sentence() == (
        "round 3 differs: the update of silo south is the first that differs"
    )


def test_a_rejected_candidate_is_compared_by_its_loss_and_norm(tmp_path):
    history = told(tmp_path, config())
    found = recorded_rounds(history, tmp_path, 2)
    (one,) = found.rounds
    any_vector = vector_of(config(), 9)
    same = found.compared(one, any_vector, mean(), {})
    assert same.equal
    assert "no hash of it is on record" in same.sentence()
    assert not found.compared(one, any_vector, mean(loss=2.6), {}).equal
    assert not found.compared(one, any_vector, mean(norm=1.6), {}).equal


def test_changed_missing_and_broken_data_are_refused_by_name(tmp_path):
    found = recorded_rounds(told(tmp_path, config()), tmp_path, 3)
    found.require_same_data(SiloReplies(dict.fromkeys(found.cohort, MARCH)))
    broken = SiloFailure("west", FailureReason.BAD_INPUT, "no such file")
    with pytest.raises(UsageError) as refused:
        found.require_same_data(SiloReplies({"north": "5c" * 32}, {"west": broken}))
    assert "the data of silo north is not what it was" in refused.value.message
    assert "silo south is not among the silos any more" in refused.value.message
    assert "silo west cannot load its tables (no such file)" in refused.value.message


def test_a_silo_that_cannot_prepare_its_data_is_refused(tmp_path):
    found = recorded_rounds(told(tmp_path, config()), tmp_path, 3)
    broken = SiloFailure("west", FailureReason.CRASHED, "no disk")
    with pytest.raises(UsageError, match=r"silo west could not prepare .*no disk"):
        found.require_prepared(SiloReplies({}, {"west": broken}))


def test_a_model_file_that_is_gone_is_told(tmp_path):
    history = told(tmp_path, config())
    (tmp_path / "models" / f"{history.models[0].sha256}.safetensors").unlink()
    with pytest.raises(LineageError, match="there is no model"):
        recorded_rounds(history, tmp_path, 3)


@pytest.mark.parametrize("number", [0, 4])
def test_a_round_that_is_not_there_is_refused(tmp_path, number):
    with pytest.raises(NotRecordedError, match="it has 1 to 3"):
        recorded_rounds(told(tmp_path, config()), tmp_path, number)


def test_groups_of_which_a_silo_vanished_cannot_be_dealt_again(tmp_path):
    groups = {"secure_aggregation": {"groups": 2}}
    history = told(tmp_path, config(**groups))
    history = replace(
        history,
        participants=tuple(
            replace(row, update_commitment="d0" * 32) for row in history.participants
        ),
    )
    assert recorded_rounds(history, tmp_path, 2)
    with pytest.raises(UsageError, match="silo west was dealt into a group"):
        recorded_rounds(history, tmp_path, 3)


def test_rounds_trained_by_the_clock_cannot_be_computed_again(tmp_path):
    history = told(tmp_path, config(local_training={"max_seconds": 9.0}))
    with pytest.raises(UsageError, match=r"by the clock \(local_training.max_seconds"):
        recorded_rounds(history, tmp_path, 1)


def test_the_base_model_is_the_one_on_record(tmp_path):
    other, right = (vector_of(config(), seed) for seed in (7, 8))
    base = saved(tmp_path, config(), right)
    elsewhere = tmp_path / "elsewhere"
    wrong = elsewhere / "models" / f"{saved(elsewhere, config(), other)}.safetensors"
    chosen = config(model={"init_from": str(wrong)})
    history = told(tmp_path, chosen)
    history = replace(
        history,
        models=(replace(history.models[0], parent_sha256=base), *history.models[1:]),
    )
    assert recorded_rounds(history, tmp_path, 1).base.sha256 == base
    (tmp_path / "models" / f"{base}.safetensors").unlink()
    with pytest.raises(UsageError, match="it began with model"):
        recorded_rounds(history, tmp_path, 1)


def test_other_code_and_settings_are_cautions_not_refusals(tmp_path):
    found = recorded_rounds(told(tmp_path, config()), tmp_path, 3)
    assert found.cautions("c1" * 32) == ()
    assert len(found.cautions("c2" * 32)) == 1
    assert len(replace(found, config_hash="00").cautions("c2" * 32)) == 2

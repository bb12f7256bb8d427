"""A silo's own tensors: trained once, kept by round, never in what it sends."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import SiloError
from data_contracts.personal_parts import (
    PERSONAL,
    drop_parts,
    keep_part,
    key_of_part,
    part_up_to,
)
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.workspace import Contribution
from models.fixed_point import signed
from models.personal_part import PersonalPart
from models.recommenders.building import initial_vector, layout_over
from models.vocabulary import StockedItems, Vocabulary
from tasks.local_training.silo_side import RoundJob, forget_rounds, train_round
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS = 20
VOCABULARY = Vocabulary(f"i{item:02}" for item in range(ITEMS))
MODEL = TINY_MODEL.model_copy(update={"personal": "items"})
START = initial_vector(MODEL, ITEMS)
CONFIG = FederatedTrainingConfig.model_validate(
    {
        "data": {"dataset": "ml-100k"},
        "model": MODEL,
        "local_training": TINY_TRAINING,
        "schedule": {"rounds": 3},
    }
)
PART = PersonalPart.of(MODEL, layout_over(MODEL, VOCABULARY))
TENSORS = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3)}


def job(round_number=1, accepted_round=0, config=CONFIG):
    return RoundJob.of(
        config, round_number, 0, ("north", "south", "west"), 1000,
        vocabulary=VOCABULARY, accepted_round=accepted_round,
    )  # fmt: skip


@pytest.fixture
def north(tmp_path):
    workspace = InProcessCohort(("north",), tmp_path).workspaces["north"]
    workspace.put(cycling_users(20, ITEMS, length=9, seed=0))
    workspace.put(VOCABULARY)
    workspace.put(StockedItems(np.ones(ITEMS, dtype=bool)))
    return workspace


def part_of(workspace, round_number):
    return part_up_to(workspace.folder, workspace.run_id, round_number)


def words(workspace):
    return workspace.get(Contribution).words.tolist()


def test_the_update_has_no_coordinate_of_the_silos_own_tensors(north):
    train_round(north, START, job())
    own = part_of(north, 1)["items.weight"]
    assert np.abs(own - PART.tensors(START)["items.weight"]).min() > 0
    sent = north.get(Contribution).words
    assert len(sent) == job().encoding.length
    assert len(sent) < len(START) - own.size + 10
    assert not PART.tensors(job().encoding.decode(signed(sent)).update.astype("f4"))[
        "items.weight"
    ].any()


def test_the_next_round_begins_with_them_and_a_rejected_one_does_not_count(north):
    train_round(north, START, job(1))
    after_first = part_of(north, 1)
    train_round(north, START, job(2, accepted_round=1))
    from_first = words(north), part_of(north, 2)
    # Had round 1 been rejected, round 2 begins where round 1 began.
    train_round(north, START, job(2, accepted_round=0))
    assert words(north) != from_first[0]
    train_round(north, START, job(2, accepted_round=1))
    assert words(north) == from_first[0]
    assert (part_of(north, 2)["items.weight"] == from_first[1]["items.weight"]).all()
    assert (part_of(north, 1)["items.weight"] == after_first["items.weight"]).all()


@pytest.mark.parametrize("lost", ["rounds", PERSONAL])
def test_a_round_trained_again_is_the_same_round(north, lost):
    train_round(north, START, job(1))
    train_round(north, START, job(2, accepted_round=1))
    before = words(north), part_of(north, 2)["items.weight"]
    (north.folder / lost / north.run_id / "000002.safetensors").unlink()
    train_round(north, START, job(2, accepted_round=1))
    assert words(north) == before[0]
    assert (part_of(north, 2)["items.weight"] == before[1]).all()


def test_the_bound_of_an_update_counts_only_what_is_sent(north):
    bound = TINY_TRAINING.model_copy(update={"max_update_norm": 1e-3})
    config = CONFIG.model_copy(update={"local_training": bound})
    train_round(north, START, job(config=config))
    decoded = job(config=config).encoding.decode(signed(north.get(Contribution).words))
    assert decoded.norm == pytest.approx(1e-3, rel=0.01)


def test_after_the_run_only_the_part_of_the_best_model_stays(north):
    for number in (1, 2, 3):
        train_round(north, START, job(number, accepted_round=number - 1))
    forget_rounds(north, 2)
    (left,) = (north.folder / PERSONAL / north.run_id).iterdir()
    assert left.name == "000002.safetensors"
    assert left.stat().st_mode & 0o077 == 0 or left.parent.stat().st_mode & 0o077 == 0
    forget_rounds(north)
    assert not (north.folder / PERSONAL / north.run_id).exists()


def test_parts_that_a_model_needs_outlive_the_last_ones(tmp_path):
    for number in range(1, 9):
        keep_part(tmp_path, "run", number, TENSORS, f"key {number}")
        drop_parts(tmp_path, "run", needed=(min(number, 2), 3), newest=2)
    names = sorted(path.stem for path in (tmp_path / PERSONAL / "run").iterdir())
    assert names == ["000002", "000003", "000007", "000008"]
    assert key_of_part(tmp_path, "run", 7) == "key 7"
    assert key_of_part(tmp_path, "run", 6) == ""


def test_a_silo_that_missed_a_round_goes_on_with_the_last_part_before_it(tmp_path):
    keep_part(tmp_path, "run", 2, TENSORS, "")
    assert part_up_to(tmp_path, "run", 1) is None
    assert part_up_to(tmp_path, "run", 5)["a.b"].tolist() == TENSORS["a.b"].tolist()


def test_a_damaged_part_is_refused_by_name(tmp_path):
    keep_part(tmp_path, "run", 2, TENSORS, "key")
    path = tmp_path / PERSONAL / "run" / "000002.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert key_of_part(tmp_path, "run", 2) == ""
    with pytest.raises(SiloError, match=r"personal/run/000002\.safetensors .* damaged"):
        part_up_to(tmp_path, "run", 2)


def test_without_personal_tensors_a_silo_keeps_no_part(north):
    model = CONFIG.model_copy(update={"model": TINY_MODEL})
    train_round(north, START, job(config=model))
    assert not (north.folder / PERSONAL).exists()
    assert replace(job(config=model), best_round=1).encoding.admission is None

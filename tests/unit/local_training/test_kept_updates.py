"""A silo trains a round once, whatever dies; every attempt has the same update."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.workspace import Contribution, SiloWorkspace
from models.recommenders.building import initial_vector
from models.vocabulary import StockedItems, Vocabulary
from tasks.local_training import silo_side
from tasks.local_training.kept_updates import kept_update, last_update
from tasks.local_training.silo_side import RoundJob, forget_rounds, train_round
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS = 20
VOCABULARY = Vocabulary(f"i{item:02}" for item in range(ITEMS))
SILOS = ("north", "south", "west")
START = initial_vector(TINY_MODEL, ITEMS)
MEAN = np.full(START.size, 1e-3)


def job(round_number: int = 1, ring_bits: int = 8, **training: object) -> RoundJob:
    config = FederatedTrainingConfig.model_validate(
        {
            "data": {"dataset": "ml-100k"},
            "model": TINY_MODEL,
            "local_training": TINY_TRAINING.model_copy(update=training),
            "secure_aggregation": {"ring_bits": ring_bits},
        }
    )
    return RoundJob.of(
        config, round_number, 0, SILOS, 1000, vocabulary=VOCABULARY, last_mean=MEAN
    )


def started(folder, seed: int = 0) -> SiloWorkspace:
    """The process of silo north, before it trains."""
    (workspace,) = InProcessCohort(["north"], folder).workspaces.values()
    workspace.put(cycling_users(20, ITEMS, length=9, seed=seed))
    workspace.put(VOCABULARY)
    workspace.put(StockedItems(np.ones(ITEMS, dtype=bool)))
    return workspace


def shelved(workspace: SiloWorkspace) -> bytes:
    return workspace.get(Contribution).words.tobytes()


@pytest.fixture
def trainings(monkeypatch):
    """How often a silo trained."""
    done, train = [], silo_side.train

    def counted(*args, **options):
        done.append(options["seed"])
        return train(*args, **options)

    monkeypatch.setattr(silo_side, "train", counted)
    return done


@pytest.mark.parametrize("ring_bits", [8, 32])
def test_after_a_crash_the_same_update_is_shelved_and_nothing_trained(
    tmp_path, trainings, ring_bits
):
    asked = job(ring_bits=ring_bits)
    first = started(tmp_path)
    receipt = train_round(first, START, asked)
    again = started(tmp_path)
    assert train_round(again, START, asked) == receipt
    assert shelved(again) == shelved(first)
    assert again.get(Contribution).kind == first.get(Contribution).kind
    assert len(trainings) == 1
    lines = (tmp_path / "north" / "commitments.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["commitment"] for line in lines] == [
        receipt.update_commitment
    ]


OTHERS = {
    "another model": lambda folder: (started(folder), START + 1, job()),
    "another recipe": lambda folder: (started(folder), START, job(epochs=3)),
    "another ring": lambda folder: (started(folder), START, job(ring_bits=16)),
    "other data": lambda folder: (started(folder, seed=5), START, job()),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_was_made_from_anything_else_is_made_anew(tmp_path, trainings, other):
    train_round(started(tmp_path), START, job())
    train_round(*other(tmp_path))
    assert len(trainings) == 2


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_update_is_made_anew(tmp_path, trainings, damage):
    before = started(tmp_path)
    train_round(before, START, job())
    (file,) = tmp_path.glob("north/rounds/run-1/*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content) if damage is None else damage)
    after = started(tmp_path)
    train_round(after, START, job())
    assert shelved(after) == shelved(before)
    assert len(trainings) == 2


def test_rounding_errors_are_made_good_as_if_nothing_had_died(tmp_path):
    undisturbed = started(tmp_path / "one")
    for number in (1, 2, 3):
        train_round(undisturbed, START, job(number))
    disturbed = started(tmp_path / "two")
    train_round(disturbed, START, job(1))
    for number in (2, 2, 3):
        disturbed = started(tmp_path / "two")
        train_round(disturbed, START, job(number))
    assert shelved(disturbed) == shelved(undisturbed)
    folder = tmp_path / "two" / "north"
    assert last_update(folder, "run-1", 3).error.any()
    assert last_update(folder, "run-1", 2) is None, "two rounds are kept"


def test_updates_are_for_the_silo_alone_and_go_when_the_run_has_ended(tmp_path):
    workspace = started(tmp_path)
    for number in (1, 2, 3):
        train_round(workspace, START, job(number))
    place = tmp_path / "north" / "rounds"
    assert stat.S_IMODE((place / "run-1").stat().st_mode) == 0o700
    names = sorted(path.name for path in place.glob("*/*"))
    assert names == ["000002.safetensors", "000003.safetensors"]
    forget_rounds(workspace)
    assert not list(place.glob("*"))
    assert kept_update(workspace.folder, "run-1", 3) is None


def corrected(round_number: int) -> RoundJob:
    return job(round_number, ring_bits=32, drift_correction="scaffold")


def round_of_scaffold(workspace: SiloWorkspace, number: int) -> bytes:
    """A round whose model and mean control variate follow from its number."""
    drawn = np.random.default_rng(number).normal(scale=1e-3, size=2 * START.size)
    drawn[: START.size] += START
    train_round(workspace, drawn.astype(np.float32), corrected(number))
    return shelved(workspace)


def test_a_silo_that_is_started_again_goes_on_with_its_control_variate(tmp_path):
    undisturbed = started(tmp_path / "one")
    sent = [round_of_scaffold(undisturbed, number) for number in (1, 2, 3)]
    again = [
        round_of_scaffold(started(tmp_path / "two"), number) for number in (1, 2, 2, 3)
    ]
    assert [again[0], *again[2:]] == sent
    assert again[1] == again[2]
    newcomer = started(tmp_path / "three")
    assert round_of_scaffold(newcomer, 3) != sent[2], "its past is part of a round"


def test_a_silo_that_missed_rounds_goes_on_with_the_last_variate_it_made(tmp_path):
    asked = {"one": (1, 2, 5), "two": (1, 2), "three": (5,)}
    for silo, numbers in asked.items():
        sent = [round_of_scaffold(started(tmp_path / silo), n) for n in numbers]
        asked[silo] = (last_update(tmp_path / silo / "north", "run-1", 5), sent[-1])
    missed, with_last = asked["one"]
    assert missed.variate.tobytes() == asked["two"][0].variate.tobytes()
    assert with_last != asked["three"][1]


def test_a_changed_control_variate_is_no_variate(tmp_path):
    workspace = started(tmp_path)
    round_of_scaffold(workspace, 1)
    (file,) = tmp_path.glob("north/rounds/run-1/*.safetensors")
    content = bytearray(file.read_bytes())
    variate = kept_update(workspace.folder, "run-1", 1).variate.tobytes()
    content[content.index(variate)] ^= 1
    file.write_bytes(bytes(content))
    assert last_update(workspace.folder, "run-1", 2) is None

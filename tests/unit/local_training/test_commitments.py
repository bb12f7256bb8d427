"""A silo can tell whether an update is the one it once committed to."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.workspace import Contribution
from tasks.local_training.commitments import COMMITMENTS, commit_to, opens
from tasks.local_training.silo_side import compare_with_commitment
from tasks.local_training.task import compare_with_commitments
from tests.simulators.in_process_cohort import InProcessCohort

WORDS = np.arange(5, dtype=np.uint32)


def test_the_same_words_open_a_commitment_and_others_do_not(tmp_path):
    first = commit_to(WORDS, tmp_path, "run/1")
    second = commit_to(WORDS, tmp_path, "run/2")
    assert first != second
    assert opens(WORDS, tmp_path, "run/1", first) is True
    assert opens(WORDS + np.uint32(1), tmp_path, "run/1", first) is False
    assert opens(WORDS, tmp_path, "run/1", second) is None


def test_a_silo_that_lost_its_salt_cannot_tell(tmp_path):
    assert opens(WORDS, tmp_path, "run/1", "00") is None
    commitment = commit_to(WORDS, tmp_path, "run/1")
    (tmp_path / COMMITMENTS).write_text('{"round": "run/1", "sal', "utf-8")
    assert opens(WORDS, tmp_path, "run/1", commitment) is None


@pytest.fixture
def cohort(tmp_path):
    return InProcessCohort(("north", "south", "west"), tmp_path)


def test_silos_are_compared_one_by_one_and_keep_their_update(cohort):
    recorded = {}
    for silo, workspace in cohort.workspaces.items():
        recorded[silo] = commit_to(WORDS, workspace.folder, "run/4")
        changed = np.uint32(silo == "south")
        workspace.put(Contribution(WORDS + changed))
    (cohort.workspaces["west"].folder / COMMITMENTS).unlink()
    found = compare_with_commitments.fn(cohort, "run", 4, recorded)
    assert found == {"north": True, "south": False, "west": None}
    assert cohort.workspaces["north"].has(Contribution)


def test_a_silo_without_an_update_is_said_to_be_unable_to_tell(cohort):
    workspace = cohort.workspaces["north"]
    recorded = dict.fromkeys(cohort.silos, "00")
    workspace.put(Contribution(WORDS))
    assert compare_with_commitment(workspace, "run/1", "00") is None
    assert compare_with_commitments.fn(cohort, "run", 1, recorded) == dict.fromkeys(
        cohort.silos
    )

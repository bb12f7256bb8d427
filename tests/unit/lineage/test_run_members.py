"""A run goes on with the silos that it began with, and with nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_contracts.errors import ResumeError
from data_contracts.progress import listening
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.run_members import MEMBERS, note_silos_of_run, silos_of_run
from tasks.lineage.run_state import state_files, write_state
from tasks.lineage.write_ahead import Commit
from tests.simulators.recorded_runs import run_record
from tests.simulators.small_federation import Notebook
from tests.unit.lineage.test_run_state import config, save

INVITED = ("north", "south", "west")


@pytest.fixture
def run(tmp_path):
    return RecordedRun(str(tmp_path), run_record("run1"), config())


def test_everybody_is_invited_to_a_run_that_begins(run):
    assert silos_of_run(run, INVITED) == INVITED


def test_who_was_missing_when_it_began_stays_out_and_is_told(run):
    note_silos_of_run(run, ("south", "north"))
    with listening(notebook := Notebook()):
        assert silos_of_run(run, INVITED) == ("north", "south")
    (note,) = notebook.notes
    assert note.startswith("Silo west was missing when run run1 began")


def test_what_was_noted_first_counts(run):
    note_silos_of_run(run, INVITED)
    note_silos_of_run(run, ("north",))
    assert silos_of_run(run, INVITED) == INVITED


def test_the_silos_of_a_finished_round_count_more(run, tmp_path):
    note_silos_of_run(run, INVITED)
    state = replace(save(tmp_path, config(), 1), cohort=("north", "south"))
    for old in state_files(run.folder):
        old.unlink()
    write_state(run.folder, state, Commit("run1", "round-1", "c1", ()), config())
    assert silos_of_run(run, INVITED) == ("north", "south")


def test_a_damaged_list_is_one_sentence(run):
    note_silos_of_run(run, INVITED)
    (run.folder / MEMBERS).write_text("[")
    with pytest.raises(ResumeError, match=r"members\.json .* is damaged; restore it"):
        silos_of_run(run, INVITED)

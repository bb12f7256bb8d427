import doctest
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from tasks.lineage import rendering
from tasks.lineage.ancestry import models_with, which_made
from tasks.lineage.queries import runs
from tasks.lineage.rendering import as_json, lineage_view, models_table, runs_table
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import MARCH, append_run, run_record, sha


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    store = LineageStore(tmp_path)
    base = append_run(store, "march", rounds=3, absent=("south",))
    append_run(store, "april", rounds=1, base=base)
    return store


def shown(view: RenderableType) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


def test_the_lineage_of_a_model_can_be_read(store: LineageStore) -> None:
    text = shown(lineage_view(which_made(store, "april")))
    assert sha("april", 1) in text
    assert "published, 1,000,000 parameters" in text
    assert "Made by run april (weekly, completed)" in text
    assert "Warm-started from run march" in text
    assert MARCH[:12] in text
    assert "1 of 1 passed" in text
    assert "south: missed the deadline" in text
    assert "1-3" in text
    assert "ndcg validation" in text
    assert "0.1250" in text


def test_the_models_with_a_silo_can_be_read(store: LineageStore) -> None:
    text = shown(models_table(models_with(store, "north"), "north"))
    assert "Models that contain data of silo north" in text
    assert text.count("candidate") == 4
    assert text.count("published") == 2


def test_no_model_and_no_run_are_said_so() -> None:
    assert "No recorded model contains data of snapshot 3a of silo B" in shown(
        models_table((), "B", "3a")
    )
    assert "No run is recorded here yet." in shown(runs_table(()))


def test_runs_can_be_read(store: LineageStore) -> None:
    text = shown(runs_table(runs(store)))
    assert "march" in text
    assert "completed" in text


def test_a_name_in_brackets_is_not_taken_for_markup() -> None:
    assert "[red]x" in shown(runs_table([run_record("run1", name="[red]x")]))


def test_json_holds_what_the_terminal_shows(store: LineageStore) -> None:
    lineage = which_made(store, "april")
    plain = json.loads(json.dumps(as_json(lineage), allow_nan=False))
    assert plain["model"]["sha256"] == sha("april", 1)
    assert [share["run"]["run_id"] for share in plain["shares"]] == ["april", "march"]
    assert as_json(run_record("run1"))["run_id"] == "run1"


def test_json_has_no_nan(store: LineageStore) -> None:
    lineage = which_made(store, "march")
    (share,) = lineage.shares
    lost = replace(share.rounds[0], train_loss=float("nan"))
    plain = as_json(replace(lineage, shares=(replace(share, rounds=(lost,)),)))
    assert plain["shares"][0]["rounds"][0]["train_loss"] is None


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(rendering).failed == 0

"""A silo's workspace, the run's listener, its clock, and the hash of its code."""

import stat

import pytest

from data_contracts import code_identity, stopwatch
from data_contracts.columns import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Column,
    TableName,
)
from data_contracts.errors import SiloError
from data_contracts.progress import Silence, announce, listening
from data_contracts.settings.cohort import SiloConfig, TableSource
from data_contracts.tables import ARROW_TYPES
from data_contracts.workspace import SiloWorkspace


@pytest.fixture
def workspace(tmp_path):
    return SiloWorkspace(SiloConfig(name="north"), "run-1", tmp_path)


def test_values_are_shelved_by_their_type_and_the_last_one_counts(workspace):
    workspace.put(1)
    workspace.put("one")
    workspace.put(2)
    assert (workspace.get(int), workspace.get(str)) == (2, "one")
    assert not workspace.has(bool)  # a subclass is another type


def test_what_was_taken_is_gone(workspace):
    workspace.put(1)
    assert workspace.take(int) == 1
    assert not workspace.has(int)
    with pytest.raises(SiloError, match="silo north holds no int yet: an earlier step"):
        workspace.take(int)


def test_a_silos_secret_is_its_own_and_the_same_in_every_run(workspace, tmp_path):
    secret = workspace.secret()
    later = SiloWorkspace(SiloConfig(name="north"), "run-2", tmp_path)
    assert later.secret() == secret
    assert len(secret) == 32
    assert stat.S_IMODE((tmp_path / "silo.secret").stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    other = SiloWorkspace(SiloConfig(name="south"), "run-1", tmp_path / "other")
    assert other.secret() != secret


def test_a_secret_that_was_not_written_whole_is_never_used(workspace, monkeypatch):
    def interrupted(size):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("secrets.token_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            workspace.secret()
    assert len(workspace.secret()) == 32


def test_a_silo_brings_the_tables_it_names():
    source = TableSource(path="x")
    silo = SiloConfig(name="north", interactions=source, users=source)
    assert list(silo.sources()) == [TableName.INTERACTIONS, TableName.USERS]


def test_every_column_has_a_type_and_a_table():
    placed = {
        column
        for columns in (*REQUIRED_COLUMNS.values(), *OPTIONAL_COLUMNS.values())
        for column in columns
    }
    assert placed == set(Column) == set(ARROW_TYPES)
    assert set(REQUIRED_COLUMNS) == set(OPTIONAL_COLUMNS) == set(TableName)


class Ear:
    """Implements `ProgressListener`: remembers the stages."""

    def __init__(self):
        self.stages = []

    def stage(self, title):
        self.stages.append(title)


def test_one_listener_hears_a_run_and_the_former_one_comes_back_even_after_an_error():
    outer, inner = Ear(), Ear()

    def fail_while_heard():
        with listening(inner):
            announce().stage("inside")
            raise ValueError("a bug")

    with listening(outer):
        with pytest.raises(ValueError, match="a bug"):
            fail_while_heard()
        announce().stage("outside")
    assert (outer.stages, inner.stages) == (["outside"], ["inside"])


def test_without_a_listener_nothing_is_said(capsys):
    silence = Silence()
    silence.stage("title")
    silence.round(1, 2, "headline")
    silence.silos({"north": (0.5, "training")})
    silence.note("sentence")
    assert capsys.readouterr() == ("", "")


def test_laps_of_one_name_add_up_and_the_round_is_everything(monkeypatch):
    times = iter([10.0, 11.0, 13.0, 16.0, 20.0])
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: next(times))
    watch = stopwatch.Stopwatch()
    for stage in ("train", "aggregate", "train"):
        watch.lap(stage)
    assert watch.seconds() == {"train": 4.0, "aggregate": 2.0, "round": 10.0}


def test_the_present_moment_knows_its_time_zone():
    assert stopwatch.now_utc().utcoffset().total_seconds() == 0


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(code_identity, "REPOSITORY", tmp_path)
    for package in code_identity.PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "models" / "one.py").write_text("x = 1")
    return tmp_path


def fresh_hash() -> str:
    return code_identity.code_hash.__wrapped__()


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("models/one.py", "x = 2", True),
        ("tasks/two.py", "", True),
        ("models/notes.md", "x = 2", False),
        ("tests.py", "x = 2", False),
    ],
)
def test_the_code_hash_covers_names_and_bytes_of_our_python_files(
    repository, name, text, changes
):
    before = fresh_hash()
    (repository / name).write_text(text)
    assert (fresh_hash() != before) is changes


def test_moving_a_line_between_files_changes_the_code_hash(repository):
    (repository / "models" / "two.py").write_text("y = 2")
    before = fresh_hash()
    (repository / "models" / "one.py").write_text("x = 1y = 2")
    (repository / "models" / "two.py").write_text("")
    assert fresh_hash() != before

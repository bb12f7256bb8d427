import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from data_contracts.errors import LineageError
from data_contracts.records import (
    KEYS,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    RoundRecord,
    RunRecord,
    RunStatus,
)
from data_contracts.run_config import parse_config
from tasks.lineage import store as store_module
from tasks.lineage.queries import history
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.schema import TABLES
from tasks.lineage.store import COMPACT_ABOVE_FILES, LineageStore
from tasks.lineage.task import (
    publish_model,
    record_admission,
    record_end,
    record_start,
)
from tests.simulators.recorded_runs import (
    append_round,
    append_run,
    append_start,
    contract_record,
    metric_record,
    model_record,
    round_record,
    round_records,
    run_record,
)


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    return LineageStore(tmp_path)


def keys(store: LineageStore, record: type) -> Counter:
    return Counter(map(attrgetter(*KEYS[record]), store.read(record)))


def test_records_come_back_as_they_were_appended(store: LineageStore) -> None:
    records = round_records("run1", 1, parent="")
    store.append(records, run_id="run1", step="round-1")
    found = [row for table in TABLES for row in store.read(table.record)]
    assert set(found) == set(records)
    assert len(found) == len(records)


def test_records_of_one_run_can_be_read_alone(store: LineageStore) -> None:
    append_round(store, "run1", 1)
    append_round(store, "run2", 1)
    assert store.read(RoundRecord, run_id="run2") == (round_record("run2", 1),)


def test_an_empty_folder_reads_as_no_records_and_stays_empty(tmp_path: Path) -> None:
    assert LineageStore(tmp_path).read(RunRecord) == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", [(1, 1), (1, 2, 1), (2, 1, 2, 1), (1, 2, 3, 2, 2)])
def test_a_step_is_written_once_whatever_the_order(
    store: LineageStore, order: tuple[int, ...]
) -> None:
    for number in order:
        append_round(store, "run1", number)
    assert keys(store, RoundRecord) == {("run1", number): 1 for number in set(order)}
    assert max(keys(store, MetricRecord).values()) == 1


def test_a_step_is_written_once_by_several_processes_in_turn(tmp_path: Path) -> None:
    for _ in range(2):
        append_round(LineageStore(tmp_path), "run1", 1)
    assert keys(LineageStore(tmp_path), RoundRecord) == {("run1", 1): 1}


def test_two_live_writers_of_a_step_write_it_once(tmp_path: Path) -> None:
    first, second = LineageStore(tmp_path), LineageStore(tmp_path)
    append_round(first, "run1", 1)
    append_round(second, "run1", 1)
    append_round(first, "run1", 2)
    with pytest.raises(LineageError, match="held by another process"):
        append_round(second, "run1", 2)
    append_round(second, "run1", 2)
    assert keys(first, RoundRecord) == {("run1", 1): 1, ("run1", 2): 1}
    assert max(keys(first, MetricRecord).values()) == 1


def test_the_first_records_of_a_step_stand(store: LineageStore) -> None:
    append_round(store, "run1", 1)
    append_round(store, "run1", 1, absent=("south",))
    assert all(row.contributed for row in store.read(ParticipantRecord))


def test_a_step_of_one_run_is_not_a_step_of_another(store: LineageStore) -> None:
    append_round(store, "run1", 1)
    append_round(store, "run11", 1)
    assert len(store.read(RoundRecord)) == 2


class Killed(BaseException):
    """What a process feels when it dies between two tables."""


@pytest.mark.parametrize("survivor", range(7))
def test_a_half_written_step_is_completed_with_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivor: int
) -> None:
    written = []

    def die_after_some(*args: object, **kwargs: object) -> None:
        if len(written) == survivor:
            raise Killed
        written.append(write_deltalake(*args, **kwargs))

    def one_by_one(work, tables):
        return [work(table) for table in tables]

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_deltalake", die_after_some)
        patch.setattr(store_module, "_in_parallel", one_by_one)
        if survivor < 6:
            with pytest.raises(Killed):
                append_round(LineageStore(tmp_path), "run1", 1)
        else:
            append_round(LineageStore(tmp_path), "run1", 1)

    # The repeated round went otherwise; mixed with the first it would be a lie.
    resumed = LineageStore(tmp_path)
    append_round(resumed, "run1", 1, absent=("south",))
    append_round(resumed, "run1", 2)
    for record, per_round in [
        (ParticipantRecord, 2),
        (MetricRecord, 3),
        (ModelVersionRecord, 1),
        (RoundRecord, 1),
    ]:
        assert len(resumed.read(record)) == 2 * per_round
        assert max(keys(resumed, record).values()) == 1
    assert all(row.contributed for row in resumed.read(ParticipantRecord))
    assert list((tmp_path / "lineage" / "unfinished").iterdir()) == []


def test_a_begun_step_is_in_the_tables_for_whoever_reads_next(
    store: LineageStore,
) -> None:
    for number in (1, 2, 3):
        records = round_records("run1", number, parent="")
        store.begin(records, run_id="run1", step=f"round-{number}")
    assert len(store.read(RoundRecord)) == 3
    assert max(keys(store, MetricRecord).values()) == 1


def test_a_begun_step_is_safe_although_its_tables_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    store = LineageStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_deltalake", full)
        store.begin([round_record("run1", 1)], run_id="run1", step="round-1")
        with pytest.raises(LineageError, match="no space is left"):
            store.begin([round_record("run1", 2)], run_id="run1", step="round-2")
    another_process = LineageStore(tmp_path)
    append_round(another_process, "run1", 3)
    assert set(keys(another_process, RoundRecord)) == {("run1", 1), ("run1", 3)}


def test_what_a_dead_run_had_begun_is_completed_by_whoever_reads_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    dying = LineageStore(tmp_path)
    append_round(dying, "run1", 1)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_deltalake", full)
        dying.begin(round_records("run1", 2, parent=""), run_id="run1", step="round-2")
        with pytest.raises(LineageError, match="no space is left"):
            dying.finish()
    assert set(keys(LineageStore(tmp_path), RoundRecord)) == {("run1", 1)}
    monkeypatch.setattr(store_module, "SURELY_DEAD_SECONDS", 0.0)
    unfinished = tmp_path / "lineage" / "unfinished"
    (unfinished / "run9.round-1.json").write_text("{")
    later = LineageStore(tmp_path)
    for _ in range(2):
        assert set(keys(later, RoundRecord)) == {("run1", 1), ("run1", 2)}
    assert max(keys(later, MetricRecord).values()) == 1
    assert [path.name for path in unfinished.iterdir()] == ["run9.round-1.json"]


def test_the_round_is_the_last_table_of_its_step(
    store: LineageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    def note(handle: DeltaTable, *args: object, **kwargs: object) -> None:
        write_deltalake(handle, *args, **kwargs)
        order.append(Path(handle.table_uri).name)

    monkeypatch.setattr(store_module, "write_deltalake", note)
    append_round(store, "run1", 1)
    assert order[-1] == "rounds"
    assert set(order[:-1]) == {
        "participants", "aggregation_phases", "metrics", "decisions", "model_versions"
    }  # fmt: skip


def test_two_runs_are_recorded_at_the_same_time(tmp_path: Path) -> None:
    def write(run_id: str) -> None:
        append_run(LineageStore(tmp_path), run_id, rounds=5)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["run1", "run2"]))
    assert len(keys(LineageStore(tmp_path), RoundRecord)) == 10
    assert len(keys(LineageStore(tmp_path), MetricRecord)) == 30


def test_a_reader_sees_what_a_writer_adds(tmp_path: Path) -> None:
    writer, reader = LineageStore(tmp_path), LineageStore(tmp_path)
    for number in (1, 2):
        append_round(writer, "run1", number)
        assert len(reader.read(RoundRecord)) == number


def test_small_files_are_merged_on_the_way(store: LineageStore) -> None:
    rounds = COMPACT_ABOVE_FILES + 5
    for number in range(1, rounds + 1):
        store.append([round_record("r", number)], run_id="r", step=f"round-{number}")
    uri = store._folder / "rounds"
    assert len(DeltaTable(uri).file_uris()) <= COMPACT_ABOVE_FILES
    assert keys(store, RoundRecord) == {("r", n): 1 for n in range(1, rounds + 1)}
    store.append([round_record("r", 1)], run_id="r", step="round-1")
    assert len(store.read(RoundRecord)) == rounds


def test_tables_refuse_to_forget(store: LineageStore) -> None:
    append_run(store, "run1")
    for table in TABLES:
        handle = DeltaTable(store._folder / table.name)
        with pytest.raises(DeltaError, match="append-only"):
            handle.delete()


def test_tables_hold_the_columns_of_the_schema_and_no_other(
    store: LineageStore,
) -> None:
    append_run(store, "run1")
    for table in TABLES:
        handle = DeltaTable(store._folder / table.name)
        assert handle.to_pyarrow_table().schema.names == table.schema.names
        assert handle.metadata().partition_columns == []


def test_the_delta_log_names_run_step_and_code(store: LineageStore) -> None:
    records = [round_record("run1", 1)]
    store.append(records, run_id="run1", step="round-1", code_hash="c1c1")
    (commit,) = DeltaTable(store._folder / "rounds").history(1)
    assert (commit["run_id"], commit["step"]) == ("run1", "round-1")
    assert commit["code_hash"] == "c1c1"


def test_an_open_store_recovers_when_its_folder_is_replaced(tmp_path: Path) -> None:
    store = LineageStore(tmp_path / "here")
    append_round(store, "run1", 1)
    (tmp_path / "here").rename(tmp_path / "away")
    with pytest.raises(LineageError, match="missing"):
        append_round(store, "run1", 2)
    append_round(store, "run1", 2)
    assert keys(store, RoundRecord) == {("run1", 2): 1}


ENTRY_FAULT = {
    "": "lacks a part of its commit",
    "{garbage": "is cut short or damaged",
    '{"commitInfo": {}}\n': "lacks a part of its commit",
}


@pytest.mark.parametrize("left", ENTRY_FAULT)
def test_a_broken_log_entry_stops_whoever_comes_next_by_its_name(
    store: LineageStore, left: str
) -> None:
    append_round(store, "run1", 1)
    entry = store._folder / "rounds" / "_delta_log" / f"{1:020d}.json"
    entry.write_text(left)
    later = LineageStore(store._folder.parent)
    for use in (lambda: later.read(RoundRecord), lambda: append_round(later, "r", 1)):
        with pytest.raises(LineageError, match="entry 1 of the Delta log") as caught:
            use()
        assert f"lineage table rounds {ENTRY_FAULT[left]} ({entry})" in (
            caught.value.message
        )
        assert "silorec doctor" in caught.value.message
        assert "garbage" not in caught.value.message


def test_a_damaged_table_is_one_sentence(store: LineageStore) -> None:
    append_round(store, "run1", 1)
    for file in (store._folder / "rounds").glob("*.parquet"):
        file.write_bytes(b"garbage")
    with pytest.raises(LineageError, match="read lineage table rounds") as caught:
        LineageStore(store._folder.parent).read(RoundRecord)
    assert "restore the folder from a backup" in caught.value.message
    assert "garbage" not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_table_of_another_version_is_refused(store: LineageStore) -> None:
    records = TABLES[0].schema.empty_table().drop_columns(["suite"])
    write_deltalake(store._folder / TABLES[0].name, records)
    with pytest.raises(LineageError, match=r"contract_results .* other columns"):
        store.read(TABLES[0].record)


def test_a_damaged_unfinished_commit_is_one_sentence(store: LineageStore) -> None:
    folder = store._folder / "unfinished"
    folder.mkdir(parents=True)
    (folder / "run1.round-1.json").write_text(json.dumps({"run_id": "run1"}))
    with pytest.raises(LineageError, match="move it away to go on"):
        append_round(store, "run1", 2)


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "lineage").write_text("")
    with pytest.raises(LineageError, match="a file lies where a folder is needed"):
        append_start(LineageStore(tmp_path), "run1")


def test_the_tasks_record_a_run_from_start_to_end(tmp_path: Path) -> None:
    config = parse_config({"data": {"dataset": "ml-100k"}}, origin="test")
    run = RecordedRun(str(tmp_path), run_record("run1"), config)
    best = model_record("run1", 1, "")
    for _ in range(2):  # Prefect may run a task twice.
        record_start.fn(run)
        record_admission.fn(run, [contract_record("run1", "north")], {"south": "Why."})
        publish_model.fn(run, best, [metric_record("run1", 1)])
    found = history(LineageStore(tmp_path), "run1")
    assert (found.run.sequence, found.run.status) == (1, RunStatus.COMPLETED)
    assert [row.silo for row in found.contracts] == ["north"]
    assert [row.silo for row in found.decisions] == ["south"]
    assert [(row.sha256, row.published) for row in found.models] == [
        (best.sha256, True)
    ]


def test_a_run_that_failed_is_recorded_as_such(tmp_path: Path) -> None:
    config = parse_config({"data": {"dataset": "ml-100k"}}, origin="test")
    run = RecordedRun(str(tmp_path), run_record("run1"), config)
    record_start.fn(run)
    record_end.fn(run, RunStatus.FAILED, "The quorum was lost.")
    found = history(LineageStore(tmp_path), "run1").run
    assert (found.status, found.message) == (RunStatus.FAILED, "The quorum was lost.")

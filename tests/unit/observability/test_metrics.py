"""What Prometheus is told of the lineage tables."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families

from data_contracts.records import Decider, RunStatus, Stage, Verdict
from flows import cli
from tasks.lineage.federations import federation_records
from tasks.lineage.registry import read_registry, set_stage
from tasks.lineage.store import LineageStore
from tasks.observability.catalogue import METRICS, seconds_since_1970
from tasks.observability.exporter import (
    KEPT_SECONDS,
    OWN_METRICS,
    LineageCollector,
    metrics_registry,
    metrics_text,
)
from tests.simulators.recorded_runs import (
    append_end,
    append_round,
    append_run,
    append_start,
    contract_record,
    decision_record,
    privacy_record,
    run_record,
)

WEEKLY = {"federation": "weekly"}


@pytest.fixture
def store(tmp_path):
    return LineageStore(tmp_path)


def told_of(store: LineageStore) -> dict[tuple[str, frozenset], float]:
    """(name, labels without the federation) -> value, as a scrape reads them."""
    text = metrics_text(metrics_registry(lambda: federation_records(store)))
    return {
        (sample.name, frozenset(sample.labels.items()) - set(WEEKLY.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(told, name: str, **labels: str) -> float:
    return told[name, frozenset(labels.items())]


def test_the_latest_run_is_told_in_detail_and_all_runs_in_totals(store):
    append_run(store, "run1", rounds=2)
    append_start(store, "run2", at="2026-02-01T00:00:00Z")
    append_round(store, "run2", 1, absent=("south",))
    told = told_of(store)
    assert value(told, "silorec_runs", status="completed") == 1
    assert value(told, "silorec_runs", status="running") == 1
    assert value(told, "silorec_run_rounds") == 1
    assert value(told, "silorec_rounds_total") == 3
    assert value(told, "silorec_transferred_bytes_total", direction="up") == 24e6
    assert value(told, "silorec_round_transferred_bytes", direction="up") == 8e6
    assert value(told, "silorec_round_seconds") == 1.0
    assert value(told, "silorec_round_stage_seconds", stage="train") == 0.5
    assert value(told, "silorec_round_phase_seconds", phase="masked input") == 0.25
    assert value(told, "silorec_silo_missed_rounds", silo="south") == 1
    assert value(told, "silorec_silo_missed_rounds", silo="north") == 0
    quality = {"subject": "federated", "window": "validation", "metric": "ndcg"}
    assert value(told, "silorec_quality", **quality) == 0.125


def test_only_the_latest_run_has_series_of_its_own(store):
    for number in range(5):
        append_run(store, f"run{number}", rounds=1)
    runs = {
        dict(labels)["run_id"]
        for name, labels in told_of(store)
        if name == "silorec_run_info"
    }
    assert len(runs) == 1


def test_a_run_whose_process_is_gone_is_told_with_the_moment_of_its_last_round(store):
    append_start(store, "run1")
    append_round(store, "run1", 1)
    told = told_of(store)
    assert value(told, "silorec_runs", status="running") == 1
    last = value(told, "silorec_run_last_record_timestamp_seconds")
    assert last == seconds_since_1970("2026-01-01T00:30:00Z")
    assert ("silorec_last_success_timestamp_seconds", frozenset()) not in told


def test_a_failed_run_does_not_move_the_last_success(store):
    append_run(store, "run1", rounds=1)
    failed = run_record(
        "run2", status=RunStatus.FAILED, at="2026-03-01T00:00:00Z", message="x"
    )
    store.append([failed], run_id="run2", step="status-0")
    told = told_of(store)
    assert value(told, "silorec_last_success_timestamp_seconds") == (
        seconds_since_1970("2026-01-01T01:00:00Z")
    )


def test_budgets_contracts_and_quarantines_are_told_by_silo(store):
    append_start(store, "run1")
    broken = contract_record("run1", "west", success=False)
    kept_out = replace(
        decision_record("run1", 0, Verdict.SILO_QUARANTINED), silo="west"
    )
    store.append([broken, kept_out], run_id="run1", step="admission")
    charged = privacy_record("run1", "north")
    settled = replace(
        charged, entry="settled", epsilon=3.0, at="2026-03-01T11:00:00+00:00"
    )
    store.append([charged], run_id="run1", step="privacy-charged")
    store.append([settled], run_id="run1", step="privacy-settled")
    append_end(store, "run1")
    told = told_of(store)
    expectation = {"silo": "west", "table": "interactions", "expectation": "not null"}
    assert value(told, "silorec_contract_failures", **expectation) == 1
    assert value(told, "silorec_silo_quarantined", silo="west") == 1
    assert value(told, "silorec_privacy_epsilon", silo="north") == 3.0
    assert value(told, "silorec_privacy_epsilon_budget", silo="north") == 8.0


def test_the_model_in_use_is_told_with_the_moment_of_its_promotion(store):
    sha256 = append_run(store, "run1", rounds=1)
    assert ("silorec_champion_promoted_timestamp_seconds", frozenset()) not in told_of(
        store
    )
    version = read_registry(store, "weekly").by_sha256[sha256]
    moved = set_stage(
        store, "weekly", version, Stage.CHAMPION,
        decided_by=Decider.PERSON, sentence="better",
    )  # fmt: skip
    told = told_of(store)
    info = {"model": sha256[:12], "run_id": "run1"}
    assert value(told, "silorec_champion_info", **info) == 1
    assert value(told, "silorec_models", stage="champion") == 1
    assert value(told, "silorec_champion_promoted_timestamp_seconds") == pytest.approx(
        seconds_since_1970(moved.moves[-1].at)
    )


def test_tables_are_read_once_for_many_scrapes():
    now, reads = [100.0], []
    collector = LineageCollector(
        lambda: reads.append(now[0]) or (), clock=lambda: now[0]
    )
    for _ in range(3):
        collector.collect()
    assert len(reads) == 1
    now[0] += KEPT_SECONDS
    collector.collect()
    assert len(reads) == 2


def test_damaged_tables_are_told_as_unreadable_and_do_not_end_the_exporter(
    store, tmp_path
):
    append_run(store, "run1", rounds=1)
    log = tmp_path / "lineage" / "rounds" / "_delta_log"
    for entry in log.iterdir():
        entry.write_text("{", "utf-8")
    told = told_of(LineageStore(tmp_path))
    assert value(told, "silorec_lineage_readable") == 0
    assert not any(name == "silorec_runs" for name, _ in told)


def test_a_scrape_over_http_says_the_same_as_the_command(store, tmp_path, capsys):
    append_run(store, "run1", rounds=1)
    registry = metrics_registry(lambda: federation_records(store))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        address = f"http://127.0.0.1:{server.server_port}/metrics"
        scraped = urllib.request.urlopen(address, timeout=10).read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert cli.main(["metrics", str(tmp_path), "--once"]) == 0
    assert without_clock(capsys.readouterr().out) == without_clock(scraped)


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def without_clock(text: str) -> str:
    return re.sub(r"(?m)^silorec_lineage_read_seconds.*$", "", text)


def test_a_textfile_is_replaced_whole(store, tmp_path):
    append_run(store, "run1", rounds=1)
    file = tmp_path / "collected" / "silorec.prom"
    assert cli.main(["metrics", str(tmp_path), "--textfile", str(file)]) == 0
    before = file.read_text("utf-8")
    append_run(store, "run2", rounds=1)
    shutil.copytree(tmp_path / "lineage", tmp_path / "other" / "lineage")
    assert cli.main(["metrics", str(tmp_path / "other"), "--textfile", str(file)]) == 0
    assert "silorec_rounds_total" in before
    assert file.read_text("utf-8") != before
    assert [path.name for path in file.parent.iterdir()] == ["silorec.prom"]


def test_an_address_that_is_taken_is_one_sentence(store, tmp_path, capsys):
    with taken_port() as port:
        code = cli.main(["metrics", str(tmp_path), "--port", str(port)])
    assert code == 2
    assert "metrics cannot be served at 127.0.0.1" in capsys.readouterr().err


def test_names_follow_prometheus():
    names = [*OWN_METRICS, *(metric.name for metric in METRICS)]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"silorec_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
        assert not metric.name.endswith("_total")
        assert metric.help.endswith(".")
        # Nothing can name a person or an item.
        assert not {"user", "item", "path"} & set(metric.labels)


def test_many_scrapes_at_once_get_whole_answers(store):
    append_run(store, "run1", rounds=1)
    registry = metrics_registry(lambda: federation_records(store))
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(metrics_text(registry)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8
    assert len(set(texts)) == 1

"""Spans of a run: the run, its rounds, and the stages of a round."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from data_contracts.progress import Silence, announce, listening
from data_contracts.stopwatch import Stopwatch
from tasks.observability.tracing import TracedProgress, traced
from tests.simulators.small_federation import Notebook

SECOND = 10**9


@pytest.fixture
def exporter(monkeypatch):
    """Spans end here; the provider of this process is left alone."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return kept


def spans_of(exporter) -> dict[str, object]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_round_is_a_span_of_the_run_and_its_stages_are_spans_of_the_round(exporter):
    with traced("federated-training", Silence()) as follower, listening(follower):
        announce().run("weekly-1")
        clock = Stopwatch()
        for stage in ("train", "aggregate", "evaluate"):
            clock.lap(stage)
        announce().round(3, 5, "loss 0.5")
    spans = spans_of(exporter)
    run, one = spans["federated-training"], spans["round"]
    assert one.parent.span_id == run.context.span_id
    for stage in ("train", "aggregate", "evaluate"):
        assert spans[stage].parent.span_id == one.context.span_id
        assert dict(spans[stage].attributes) == {
            "silorec.run_id": "weekly-1",
            "silorec.round": 3,
            "silorec.stage": stage,
        }
    assert dict(run.attributes) == {"silorec.run_id": "weekly-1"}


def test_spans_have_the_times_of_the_stages(exporter):
    now = iter([110 * SECOND, 115 * SECOND, 116 * SECOND])
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("run") as run:
        follower = TracedProgress(Silence(), tracer, run, clock=lambda: next(now))
        follower.lap("train", 10.0)
        follower.lap("aggregate", 5.0)
        follower.round(1, 1, "")
    spans = spans_of(exporter)
    times = {
        name: (spans[name].start_time / SECOND, spans[name].end_time / SECOND)
        for name in ("train", "aggregate", "round")
    }
    assert times == {
        "train": (100, 110),
        "aggregate": (110, 115),
        "round": (100, 116),
    }


def test_stages_of_one_round_are_not_told_in_the_next(exporter):
    with traced("run", Silence()) as follower:
        follower.lap("train", 1.0)
        follower.round(1, 2, "")
        follower.lap("train", 1.0)
        follower.round(2, 2, "")
    rounds = [
        span.attributes["silorec.round"]
        for span in exporter.get_finished_spans()
        if span.name == "train"
    ]
    assert rounds == [1, 2]


def test_a_failure_is_told_by_its_type_and_never_by_its_text(exporter):
    with pytest.raises(ValueError, match="42"), traced("run", Silence()):
        raise ValueError("user_id=42 is wrong")
    (span,) = exporter.get_finished_spans()
    assert span.status.description == "ValueError"
    assert "user_id" not in span.to_json()


def test_notes_and_headlines_are_no_part_of_a_span(exporter):
    notebook = Notebook()
    with traced("run", notebook) as follower:
        follower.note("silo north is quarantined")
        follower.round(1, 1, "loss 0.5")
    assert notebook.notes == ["silo north is quarantined"]
    told = " ".join(span.to_json() for span in exporter.get_finished_spans())
    assert "north" not in told
    assert "0.5" not in told


def test_without_a_recorder_the_listener_is_left_as_it_is():
    quiet = Silence()
    with traced("run", quiet) as follower:
        assert follower is quiet


PROGRAM = """
import flows
from data_contracts.progress import announce
from flows.observed import observed
with observed("federated-training"):
    announce().run("weekly-1")
    announce().round(1, 1, "")
"""


@pytest.fixture
def run_program(tmp_path):
    """The program in a process with no other environment."""

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        own = {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=own | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_the_environment_of_opentelemetry_decides_where_spans_go(run_program):
    told = run_program(OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="ours")
    assert told.returncode == 0, told.stderr
    assert '"name": "federated-training"' in told.stdout
    assert '"service.name": "ours"' in told.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_nothing_is_sent_unless_asked_for(run_program, environment):
    told = run_program(**environment)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


class Collector(BaseHTTPRequestHandler):
    """Keeps the addresses and bodies that it was sent."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_spans_reach_a_collector_whose_address_is_all_that_is_set(run_program):
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        told = run_program(
            OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_EXPORTER_OTLP_COMPRESSION="none"
        )
        server.shutdown()
        thread.join()
    assert told.returncode == 0, told.stderr
    ((path, body),) = server.received
    assert path == "/v1/traces"
    assert b"federated-training" in body
    assert b"weekly-1" in body


def test_an_exporter_that_is_not_installed_is_one_sentence(run_program):
    told = run_program(OTEL_TRACES_EXPORTER="carrier-pigeon")
    assert "exporter carrier-pigeon, which is not installed" in told.stderr


def test_a_worker_logs_json_if_asked_to(run_program):
    told = run_program(SILOREC_LOG_FORMAT="json")
    assert '"event": "round"' in told.stderr
    assert '"run": "weekly-1"' in told.stderr

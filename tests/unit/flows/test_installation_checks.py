"""What `silorec doctor` says about the machine it runs on."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from data_contracts.health import Severity
from flows import installation_checks as checks
from flows.running_processes import orphaned_servers


def told(findings) -> str:
    """The one sentence; fails if there are more or none."""
    (finding,) = findings
    assert "\n" not in finding.sentence
    return finding.sentence


@pytest.mark.parametrize(
    ("running", "count"), [((3, 11), 0), ((3, 13), 1), ((3, 9), 1)]
)
def test_another_python_is_named(running, count):
    found = list(checks.python_findings(running))
    assert len(found) == count
    assert all("Python 3.11" in finding.sentence for finding in found)


def test_what_this_environment_lacks_is_named():
    found = checks.version_findings(
        [
            "rich>=1",
            "rich<1",
            "no-such-package-anywhere>=2",
            "absent-but-optional; extra == 'he'",
            "absent-elsewhere; python_version < '3'",
        ]
    )
    old, absent = (finding.sentence for finding in found)
    assert "silorec needs rich<1" in old
    assert "of version" in old
    assert "no-such-package-anywhere is not installed" in absent
    assert "pip install 'no-such-package-anywhere>=2'" in absent


def test_what_runs_here_is_what_silorec_asks_for():
    pins = ["torch==2.13.0", "prefect==3.8.8", "ray[default]==2.60.0"]
    pins.append("deltalake>=1.6,<1.7")
    assert list(checks.version_findings(pins)) == []


def test_a_folder_that_is_not_there_is_judged_by_where_it_would_be_made(tmp_path):
    assert list(checks.folder_findings("output folder", tmp_path / "a" / "b")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refused(**where):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refused)
    sentence = told(checks.folder_findings("cache folder", tmp_path / "cache"))
    assert "cache folder" in sentence
    assert "Permission denied" in sentence
    assert f"make {tmp_path} writable" in sentence


def test_too_little_disk_or_memory_is_named(tmp_path, monkeypatch):
    assert list(checks.room_findings(tmp_path, 2**40)) == []
    assert "12 MiB of memory" in told(checks.room_findings(tmp_path, 12 * 2**20))
    usage = namedtuple("usage", "total used free")(2**40, 2**40, 5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    sentence = told(checks.room_findings(tmp_path / "new", 2**40))
    assert "5 MiB are free" in sentence
    assert str(tmp_path / "new") in sentence


def test_clocks_that_are_apart_are_named(tmp_path):
    assert list(checks.clock_findings(tmp_path, time.time())) == []
    sentence = told(checks.clock_findings(tmp_path, time.time() - 600))
    assert "600 s apart" in sentence or "601 s apart" in sentence


def test_a_taken_port_is_a_note():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (finding,) = checks.port_findings(port, "")
    assert finding.severity is Severity.NOTE
    assert f"port {port}" in finding.sentence
    assert list(checks.port_findings(port, "")) == []


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *words):
        """Say nothing."""


def test_a_prefect_server_that_does_not_answer_is_named():
    server = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
    api = f"http://127.0.0.1:{server.server_port}/api"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert list(checks.port_findings(0, api)) == []
    server.shutdown()
    server.server_close()
    assert f"PREFECT_API_URL {api}" in told(checks.port_findings(0, api))
    assert "file:///etc" in told(checks.port_findings(0, "file:///etc"))


def process(listing: Path, pid: int, parent: int, *words: str) -> None:
    place = listing / str(pid)
    place.mkdir()
    (place / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    (place / "cmdline").write_bytes("\0".join(words).encode() + b"\0")


def test_servers_without_their_parent_are_found(tmp_path, monkeypatch):
    process(tmp_path, 10, 1, "/venv/ray/core/src/ray/gcs/gcs_server", "--log_dir=x")
    process(tmp_path, 11, 1, "/venv/ray/core/src/ray/raylet/raylet", "--x")
    process(tmp_path, 12, 10, "/venv/ray/core/src/ray/raylet/raylet", "--x")
    process(
        tmp_path, 13, 1, "python", "-m", "uvicorn", "--app-dir", "x", "--factory",
        "prefect.server.api.server:create_app",
    )  # fmt: skip
    process(tmp_path, 14, 1, "vim", "notes-about-raylet")
    (tmp_path / "self").mkdir()
    (tmp_path / "15").mkdir()  # It ended while it was looked at.
    found = orphaned_servers(tmp_path)
    assert found == {"Prefect": (13,), "Ray": (10, 11)}
    monkeypatch.setattr(checks, "orphaned_servers", lambda: found)
    notes = list(checks.process_findings())
    assert [note.severity for note in notes] == [Severity.NOTE] * 2
    assert "kill 10, 11" not in notes[1].sentence
    assert "kill 10 11" in notes[1].sentence


def test_servers_of_this_machine_can_be_listed():
    assert all(os.getpid() not in pids for pids in orphaned_servers().values())

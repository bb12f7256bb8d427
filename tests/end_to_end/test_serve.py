"""`silorec serve` as a person starts it: answers, another champion, and a clean end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest

from data_contracts.settings.training import ModelConfig
from tests.simulators.served_federation import ServedFederation

pytestmark = pytest.mark.slow

SECONDS = 120
CONFIG = ModelConfig(dim=8, blocks=1, heads=2, context=10)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    made = ServedFederation(
        tmp_path_factory.mktemp("served"), CONFIG, users=80, items=60
    )
    made.promote(1)
    return made


def command(federation, port, *flags):
    return [
        sys.executable, "-m", "flows.cli", "serve", "--silo", "north",
        "--output-folder", str(federation.folder), "--port", str(port),
        "--poll-seconds", "0.3", *flags,
    ]  # fmt: skip


def ask(port, body=None, path="/recommend", token=""):
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=data, headers=headers
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def until(condition, what):
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up:
        try:
            if condition():
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen in {SECONDS} s")


def test_a_champion_is_served_exchanged_and_ended(federation, tmp_path):
    port, token = free_port(), "a-token-of-some-thirty-letters-x"
    (tmp_path / "token").write_text(token)
    process = subprocess.Popen(
        command(federation, port, "--token-file", str(tmp_path / "token")),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        until(lambda: ask(port, path="/health"), "an answer")
        first = json.loads(ask(port, {"user_id": "north-u00003"}, token=token))
        assert first["model_sha256"] == federation.versions[1].sha256
        assert len(first["items"]) == 10
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(port, {"user_id": "north-u00003"})
        second = federation.promote(2).sha256
        until(
            lambda: second in ask(port, path="/model", token=token), "another champion"
        )
        assert "silorec_serving_model_swaps_total 1.0" in ask(
            port, path="/metrics", token=token
        )
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert "north-u00003" not in said
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--silo", "east"), "has no silo east"),
        (("--model-version", "0123"), "no recorded published model or run"),
        (("--host", "0.0.0.0"), "give token_file"),
        (("--trusted-publisher", "ab" * 32), "not by the trusted publisher"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(federation, tmp_path, flags, told):
    done = subprocess.run(
        command(federation, free_port(), *flags), capture_output=True, text=True,
        timeout=SECONDS, env=os.environ | {"HOME": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode in {1, 2}
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(federation, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(federation, port), capture_output=True, text=True,
            timeout=SECONDS, env=os.environ | {"HOME": str(tmp_path)}, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert f"port {port}" in done.stderr

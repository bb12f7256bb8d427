"""Fetching: verified, atomic, retried, and clear about what a person can do."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from data_contracts.errors import DataSourceError
from tasks.ingestion.downloads import Origin, Source, fetch, sources_of
from tasks.ingestion.transports import TransportError

CONTENT = b"the whole archive"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def source(origin: Origin = Origin.OFFICIAL) -> Source:
    return Source(
        dataset="ml-100k",
        origin=origin,
        address=f"address-of-{origin}",
        file_name=f"{origin}.zip",
        sha256=SHA256,
        megabytes=0.1,
    )


class Line:
    """A transport that acts out one outcome per attempt, and counts them."""

    def __init__(self, *outcomes: bytes | BaseException) -> None:
        self.outcomes = list(outcomes)
        self.attempts = 0

    def __call__(self, address: str, target: Path) -> None:
        self.attempts += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            target.write_bytes(CONTENT[:5])
            raise outcome
        target.write_bytes(outcome)


def run(cache: Path, *lines: Line, naps: list[float] | None = None):
    origins = (Origin.PACKAGE_INDEX, Origin.OFFICIAL)[-len(lines) :]
    return fetch(
        tuple(source(origin) for origin in origins),
        cache,
        transports=dict(zip(origins, lines, strict=True)),
        sleep=(naps if naps is not None else []).append,
    )


def test_a_verified_file_is_kept_and_not_fetched_again(tmp_path):
    line = Line(CONTENT)
    first = run(tmp_path, line)
    assert first[1].read_bytes() == CONTENT
    assert run(tmp_path, line) == first
    assert line.attempts == 1


def test_a_transient_failure_is_retried_with_growing_pauses(tmp_path):
    broken = TransportError("broke off", transient=True)
    naps: list[float] = []
    _, file = run(tmp_path, Line(broken, broken, CONTENT), naps=naps)
    assert file.read_bytes() == CONTENT
    assert naps == [1.0, 4.0]


def test_a_final_failure_is_not_retried(tmp_path):
    line = Line(TransportError("the server answered 404", transient=False))
    with pytest.raises(DataSourceError, match="the server answered 404"):
        run(tmp_path, line)
    assert line.attempts == 1


def test_auto_falls_back_to_the_next_source(tmp_path):
    used, file = run(
        tmp_path, Line(TransportError("no pip", transient=False)), Line(CONTENT)
    )
    assert used.origin is Origin.OFFICIAL
    assert file.name == "official.zip"


def test_offline_the_sentence_says_what_was_tried_and_what_to_place_where(tmp_path):
    offline = TransportError("no connection", transient=True)
    with pytest.raises(DataSourceError) as caught:
        run(tmp_path, Line(offline, offline, offline), Line(offline, offline, offline))
    for part in (
        *("address-of-package-index: no connection", "address-of-official"),
        *("package-index.zip", "official.zip", SHA256, str(tmp_path / "downloads")),
    ):
        assert part in caught.value.message


def test_wrong_content_is_thrown_away_and_both_hashes_are_told(tmp_path):
    with pytest.raises(DataSourceError) as caught:
        run(tmp_path, Line(b"a proxy's error page"))
    assert SHA256 in caught.value.message
    assert hashlib.sha256(b"a proxy's error page").hexdigest() in caught.value.message
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_corrupt_cached_file_is_refused_with_both_hashes(tmp_path):
    _, file = run(tmp_path, Line(CONTENT))
    file.write_bytes(b"bit rot")
    with pytest.raises(DataSourceError, match="delete it and run again") as caught:
        run(tmp_path, Line(CONTENT))
    assert SHA256 in caught.value.message
    assert hashlib.sha256(b"bit rot").hexdigest() in caught.value.message


def test_an_interrupted_download_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Line(KeyboardInterrupt()))
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_killed_download_leaves_nothing_that_looks_complete(tmp_path):
    def die(address: str, target: Path) -> None:
        target.write_bytes(CONTENT)
        os._exit(9)

    child = os.fork()
    if child == 0:
        fetch((source(),), tmp_path, transports={Origin.OFFICIAL: die})
    os.waitpid(child, 0)
    assert not (tmp_path / "downloads" / "official.zip").exists()
    line = Line(CONTENT)
    assert run(tmp_path, line)[1].read_bytes() == CONTENT
    assert line.attempts == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "downloads").write_text("a file where the folder should be")
    with pytest.raises(DataSourceError, match=r"data\.cache_folder"):
        run(tmp_path, Line(CONTENT))


@pytest.mark.parametrize("dataset", ["ml-100k", "ml-1m"])
def test_auto_tries_the_package_first(dataset):
    origins = [s.origin for s in sources_of(dataset, "auto")]
    assert origins == [Origin.PACKAGE_INDEX, Origin.OFFICIAL]
    for choice in Origin:
        assert [s.origin for s in sources_of(dataset, choice.value)] == [choice]

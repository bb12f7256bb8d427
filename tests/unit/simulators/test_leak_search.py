"""The search that proves absence must find what is there."""

import sqlite3
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.simulators.leak_search import leaks, needles

SOUGHT = needles(["canary"], [1234567891, 3.1728394])


def as_text(path: Path) -> None:
    path.write_text("a canary at 1234567891 rated 3.1728394")


def as_bytes(path: Path) -> None:
    path.write_bytes(b"xcanaryx" + struct.pack("<qd", 1234567891, 3.1728394))


def as_compressed_parquet(path: Path) -> None:
    rows = [{"u": "canary", "t": 1234567891, "r": 3.1728394}] * 1000
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


def in_the_write_ahead_log_of_sqlite(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE t (a, b, c)")
    long = "-" * 4090 + "canary" + "-" * 5000
    database.execute("INSERT INTO t VALUES (?, 1234567891, 3.1728394)", [long])
    database.commit()


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_text, "log.txt"),
        (as_bytes, "log.bin"),
        (as_compressed_parquet, "rows.parquet"),
        (in_the_write_ahead_log_of_sqlite, "server.db"),
    ],
)
def test_every_value_is_found_however_it_is_written(
    tmp_path: Path, write, name: str
) -> None:
    write(tmp_path / name)
    found = leaks(SOUGHT, tmp_path)
    assert set(found) == {"canary", "1234567891", "3.1728394"}
    assert all(name in places for places in found.values())


def test_own_folders_are_not_searched(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    as_text(tmp_path / "own" / "log.txt")
    assert leaks(SOUGHT, tmp_path, own=[tmp_path / "own"]) == {}

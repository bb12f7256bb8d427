"""Looking for values in every byte below a folder, compressed tables included."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq


def needles(texts: Collection[str], numbers: Collection[float]) -> dict[bytes, str]:
    """Every form in which the values could be written -> the value."""
    found = {text.encode(): text for text in texts}
    for number in numbers:
        found[repr(number).encode()] = repr(number)
        kind = "<q" if isinstance(number, int) else "<d"
        found[struct.pack(kind, number)] = repr(number)
    return found


def leaks(
    sought: Mapping[bytes, str], folder: Path, own: Collection[Path] = ()
) -> dict[str, set[str]]:
    """Value -> files below `folder`, but not below `own`, that hold it."""
    found: dict[str, set[str]] = {}
    for path in files(folder, own):
        readings = [path.read_bytes(), *_decoded(path)]
        for needle, value in sought.items():
            if any(needle in content for content in readings):
                found.setdefault(value, set()).add(str(path.relative_to(folder)))
    return found


def files(folder: Path, own: Collection[Path] = ()) -> Iterator[Path]:
    """Regular files below `folder`, but not below `own`."""
    for path in sorted(folder.rglob("*")):
        owned = any(path.is_relative_to(place) for place in own)
        if path.is_file() and not path.is_symlink() and not owned:
            yield path


def _decoded(path: Path) -> Iterator[bytes]:
    for ending, decode in DECODERS.items():
        if path.name.endswith(ending):
            yield decode(path)


def _parquet(path: Path) -> bytes:
    """Cells as text: pages are compressed."""
    return repr(pq.read_table(path).to_pylist()).encode()


def _sqlite(path: Path) -> bytes:
    """Rows as text: long values are spread over pages; reads the WAL as well."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return "\n".join(database.iterdump()).encode()


DECODERS: Mapping[str, Callable[[Path], bytes]] = {".parquet": _parquet, ".db": _sqlite}

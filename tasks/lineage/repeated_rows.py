"""Rows that two merges at once put into a table twice, and how one copy goes.

A data file whose every row is in other files of the table as well is taken out of the
log, as a merge would do it. The file itself stays until maintenance removes it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.lineage.delta_log import entry_path, read_log
from tasks.lineage.schema import LineageTable, from_rows


def superfluous_files(table: LineageTable, place: Path) -> tuple[str, ...]:
    """Data files that the table does not need, as others hold all their rows.

    Raises:
        OSError: a file cannot be read.
    """
    record: Any = table.record
    rows = {
        name: Counter(from_rows(record, pq.read_table(place / name)))
        for name in sorted(read_log(place).active)
    }
    total: Counter[Any] = Counter()
    for own in rows.values():
        total.update(own)
    found = []
    for name, own in rows.items():
        if own and all(total[row] > times for row, times in own.items()):
            total.subtract(own)
            found.append(name)
    return tuple(found)


def take_out(place: Path, names: tuple[str, ...]) -> int:
    """Commit that these data files are no longer in the table; returns the version.

    Raises:
        FileExistsError: a writer was faster; look again.
        OSError: the log cannot be written.
    """
    log = read_log(place)
    version = max([log.checkpoint or 0, *(entry.version for entry in log.entries)]) + 1
    now = time.time_ns() // 10**6
    actions: list[dict[str, object]] = [
        {"commitInfo": {"operation": "REPAIR", "engineInfo": "silorec doctor"}}
    ]
    for name in names:
        gone = {"path": name, "deletionTimestamp": now, "dataChange": False}
        actions.append({"remove": gone})
    path = entry_path(place, version)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("x") as file:
            file.write("".join(json.dumps(action) + "\n" for action in actions))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # Fails if there is one: never over another's commit.
    finally:
        draft.unlink(missing_ok=True)
    return version

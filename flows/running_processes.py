"""Servers that outlived whoever started them, as the kernel lists them."""

from __future__ import annotations

import os
from pathlib import Path

SERVERS = {
    "gcs_server": "Ray",
    "raylet": "Ray",
    "prefect.server.api.server": "Prefect",
}
"""What stands in the first words of a command line -> whose server it is."""

_WORDS = 8
_INIT = 1


def orphaned_servers(listing: Path = Path("/proc")) -> dict[str, tuple[int, ...]]:
    """Ray's and Prefect's servers of this user whose parent is gone.

    A cluster that was started with `ray start` looks the same: only people can tell.

    Args:
        listing: a folder like `/proc`.
    """
    found: dict[str, list[int]] = {}
    for place in listing.iterdir():
        if place.name.isdecimal() and (kind := _kind(place)):
            found.setdefault(kind, []).append(int(place.name))
    return {kind: tuple(sorted(pids)) for kind, pids in sorted(found.items())}


def _kind(place: Path) -> str:
    try:
        if place.stat().st_uid != os.getuid() or _parent(place) != _INIT:
            return ""
        words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # It has ended meanwhile.
        return ""
    return next(
        (
            kind
            for name, kind in SERVERS.items()
            for word in words[:_WORDS]
            if Path(word.partition(":")[0]).name == name
        ),
        "",
    )


def _parent(place: Path) -> int:
    status = (place / "status").read_text(errors="replace").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("PPid:"))

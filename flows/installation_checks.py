"""Whether this machine can run silorec: versions, folders, room, clock, processes.

Imports neither Prefect nor Ray nor torch: an installation that cannot even load them is
what is looked for.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from data_contracts.health import Finding, Severity
from data_contracts.settings.data import DataConfig
from flows.running_processes import orphaned_servers

PYTHONS = ((3, 11), (3, 12))
MIN_DISK_BYTES = 2**30
MIN_MEMORY_BYTES = 2**30
CLOCK_SECONDS = 5.0
UI_PORT = 4200


def installation_findings(output_folder: Path) -> tuple[Finding, ...]:
    """Everything about this machine that would stop or disturb a run.

    Args:
        output_folder: where runs are to write; need not exist yet.
    """
    places = _places(output_folder)
    return (
        *python_findings(sys.version_info[:2]),
        *version_findings(requires("silorec") or []),
        *(f for name, place in places.items() for f in folder_findings(name, place)),
        *room_findings(output_folder, _free_memory()),
        *clock_findings(output_folder, time.time()),
        *port_findings(UI_PORT, os.environ.get("PREFECT_API_URL", "")),
        *process_findings(),
    )


def python_findings(running: tuple[int, int]) -> Iterator[Finding]:
    """Another Python than silorec is made for."""
    if running not in PYTHONS:
        yield Finding(
            check="python",
            where=sys.executable,
            sentence=f"Python {running[0]}.{running[1]} at {sys.executable} is not one "
            "that silorec runs on (3.11, 3.12); install it with Python 3.11",
        )


def version_findings(required: list[str]) -> Iterator[Finding]:
    """Packages that are missing, or of a version that silorec does not ask for."""
    for text in required:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        if not requirement.specifier.contains(found or "0", prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            yield Finding(
                check="versions",
                where=requirement.name,
                sentence=f"package {requirement.name} is "
                f"{f'of version {found}' if found else 'not installed'}, and silorec "
                f"needs {wanted}; install it with pip install '{wanted}' -c "
                "infra/constraints.txt",
            )


def folder_findings(name: str, folder: Path) -> Iterator[Finding]:
    """A folder that cannot be written, or made."""
    place = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0")
    except OSError as error:
        yield Finding(
            check="write-access",
            where=str(folder),
            sentence=f"{name} {folder} cannot be written ({error.strerror}); make "
            f"{place} writable for this user, or choose another folder",
        )


def room_findings(folder: Path, free_memory: int) -> Iterator[Finding]:
    """Too little disk or memory for even a small run.

    Args:
        folder: where runs write.
        free_memory: bytes.
    """
    free_disk = shutil.disk_usage(_nearest(folder)).free
    if free_disk < MIN_DISK_BYTES:
        yield Finding(
            check="disk",
            where=str(folder),
            sentence=f"only {free_disk / 2**20:.0f} MiB are free on the disk of "
            f"{folder}, a run needs at least {MIN_DISK_BYTES // 2**20}; free some, "
            "`silorec maintain --remove` removes what no record needs",
        )
    if free_memory < MIN_MEMORY_BYTES:
        yield Finding(
            check="memory",
            where="memory",
            sentence=f"only {free_memory / 2**20:.0f} MiB of memory are free, a run "
            f"needs at least {MIN_MEMORY_BYTES // 2**20}; end what else is running",
        )


def clock_findings(folder: Path, now: float) -> Iterator[Finding]:
    """A clock that the file system of the runs disagrees with.

    Ages decide what is a leftover, so both must mean the same.

    Args:
        folder: where runs write.
        now: seconds since 1970 by this machine.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=_nearest(folder)) as file:
            apart = abs(os.stat(file.name).st_mtime - now)
    except OSError:
        return  # Told by `folder_findings`.
    if apart > CLOCK_SECONDS:
        yield Finding(
            check="clock",
            where=str(folder),
            sentence=f"the clock of this machine and that of the disk of {folder} are "
            f"{apart:.0f} s apart, at most {CLOCK_SECONDS:.0f} are sound; set both by "
            "a time server",
        )


def port_findings(port: int, api: str) -> Iterator[Finding]:
    """A Prefect server that does not answer; a port that `silorec ui` would want."""
    if api and not _answers(f"{api.rstrip('/')}/health"):
        yield Finding(
            check="ports",
            where=api,
            sentence=f"no Prefect server answers at PREFECT_API_URL {api}; start it, "
            "correct the address, or unset the variable to use an embedded server",
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            yield Finding(
                check="ports",
                where=f"127.0.0.1:{port}",
                sentence=f"port {port} of 127.0.0.1 is taken, so `silorec ui` needs "
                "another one: give it with --port",
                severity=Severity.NOTE,
            )


def process_findings() -> Iterator[Finding]:
    """Servers of Ray and Prefect whose parent is gone."""
    for kind, pids in orphaned_servers().items():
        listed = " ".join(map(str, pids))
        yield Finding(
            check="processes",
            where=listed,
            sentence=f"processes of {kind} run without the one that started them "
            f"(process {listed}); if nobody needs them, end them with kill {listed}",
            severity=Severity.NOTE,
        )


def _places(output_folder: Path) -> dict[str, Path]:
    prefect_home = os.environ.get("PREFECT_HOME", "~/.prefect")
    return {
        "home folder": Path.home(),
        "cache folder": Path(DataConfig().cache_folder).expanduser(),
        "folder of the Prefect database": Path(prefect_home).expanduser(),
        "output folder": output_folder,
        "folder of temporary files": Path(tempfile.gettempdir()),
    }


def _nearest(folder: Path) -> Path:
    """The folder itself, or the one that it would be made in."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _free_memory() -> int:
    for line in Path("/proc/meminfo").read_text("utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return MIN_MEMORY_BYTES


def _answers(url: str) -> bool:
    if not url.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - scheme checked above
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False

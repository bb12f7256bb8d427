"""What a silo tells of its own process and machine."""

from __future__ import annotations

import hashlib
import resource
import shutil
import socket
from pathlib import Path

from data_contracts.code_identity import code_hash
from data_contracts.preflight import SiloResources, coarse
from data_contracts.workspace import SiloWorkspace

MEMINFO = Path("/proc/meminfo")
KIBI = 1024


def measure_resources(workspace: SiloWorkspace) -> SiloResources:
    """Memory and disk as they are now; two significant digits each."""
    machine = hashlib.sha256(socket.gethostname().encode()).hexdigest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBI
    return SiloResources(
        machine=machine[:12],
        code_hash=code_hash(),
        peak_memory_bytes=coarse(peak),
        free_memory_bytes=coarse(available_memory(MEMINFO)),
        free_disk_bytes=coarse(shutil.disk_usage(workspace.folder).free),
    )


def available_memory(meminfo: Path) -> float:
    """What Linux says can be used without swapping, in bytes; 0 if it does not say.

    Left out: limits of a container, which may be lower.
    """
    if not meminfo.exists():
        return 0.0
    for line in meminfo.read_text("utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * KIBI
    return 0.0

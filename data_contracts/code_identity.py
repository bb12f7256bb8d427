"""Which code ran: one hash over all of ours."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("data_contracts", "flows", "models", "tasks")


@cache
def code_hash() -> str:
    """SHA-256 over the names and bytes of all our Python files, in path order."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            content = path.read_bytes()
            name = str(path.relative_to(REPOSITORY)).encode()
            digest.update(b"%d:%b%d:%b" % (len(name), name, len(content), content))
    return digest.hexdigest()

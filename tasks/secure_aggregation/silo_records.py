"""What a silo keeps on its own disk: the identities it knows, the sums it confirmed.

Both are written through before the silo acts on them, so a killed process can neither
forget whom it knows nor confirm a second sum (PROTOCOL.md, 5 and 3).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from data_contracts.errors import ProtocolError, SiloError
from data_contracts.secure_aggregation import AggregationTerms

PINS = "identities.json"
CONFIRMED = "confirmed_sums"


def pinned_identities(folder: Path) -> dict[str, bytes]:
    """Silo -> the public key it showed first.

    Raises:
        SiloError: the file is damaged.
    """
    path = folder / PINS
    if not path.exists():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {silo: bytes.fromhex(key) for silo, key in listed.items()}
    except (ValueError, AttributeError, TypeError):
        raise SiloError(
            f"{path} is damaged; restore it from a backup, or move it away to accept "
            "every identity anew"
        ) from None


def pin_identities(folder: Path, seen: Mapping[str, bytes]) -> None:
    """Remember identities that are not pinned yet; pinned ones never change."""
    pinned = pinned_identities(folder)
    if seen.keys() <= pinned.keys():
        return
    listed = {silo: key.hex() for silo, key in sorted((dict(seen) | pinned).items())}
    draft = folder / f"{PINS}.part"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(listed, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / PINS)


def claim_sum(folder: Path, terms: AggregationTerms) -> None:
    """Note, before it is confirmed, that this sum of this round is confirmed.

    Sums of round 0, counts and metrics, may be asked for again: they are the same
    numbers every time, and what their differences tell is in the threat model.

    Raises:
        ProtocolError: one was confirmed before; the difference of the two sums would
            be the update of whoever is missing in one of them.
    """
    if not terms.round_number:
        return
    name = f"{terms.run_id}/{terms.round_number}/{terms.purpose}"
    place = folder / CONFIRMED
    place.mkdir(mode=0o700, exist_ok=True)
    path = place / hashlib.sha256(name.encode()).hexdigest()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ProtocolError(
            f"a sum of {terms.purpose} in round {terms.round_number} was confirmed "
            "before; a second one could show the update of a single silo"
        ) from None

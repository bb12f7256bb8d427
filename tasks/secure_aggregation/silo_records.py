"""What a silo keeps on its own disk: the identities it knows, the sums it confirmed.

All is written through before the silo acts on it, so a killed process can neither
forget whom it knows nor confirm a sum of other silos or inputs (PROTOCOL.md, 5 and 3).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from data_contracts.durable_files import write_durably
from data_contracts.errors import ProtocolError, SiloError
from data_contracts.secure_aggregation import AggregationTerms
from models.fixed_point import Words
from tasks.secure_aggregation.context import words_sha256

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


def note_input(folder: Path, terms: AggregationTerms, words: Words) -> None:
    """Note, before it is handed over, which input this silo has for this sum.

    A round that is summed again after a crash is summed from the same numbers.

    Raises:
        ProtocolError: another input was handed over before; the difference of two
            sums would be the difference of the two inputs.
    """
    if not _first_or_same(folder, terms, "input", words_sha256(words)):
        raise ProtocolError(
            f"another input to the sum of {terms.purpose} in round "
            f"{terms.round_number} was handed over before; a second one could be told "
            "apart from the first"
        )


def claim_sum(folder: Path, terms: AggregationTerms, silos: Collection[str]) -> None:
    """Note, before it is confirmed, whose sum is confirmed in this round.

    The same silos may be confirmed again, in an attempt with fresh keys: they hand over
    the same inputs, so the two sums are one. Sums of round 0, counts and metrics, may
    be asked for again of any silos: they are the same numbers every time, and what
    their differences tell is in the threat model.

    Raises:
        ProtocolError: a sum of other silos was confirmed before; the difference of the
            two sums would be the update of whoever is missing in one of them.
    """
    if not _first_or_same(folder, terms, "", json.dumps(sorted(silos))):
        raise ProtocolError(
            f"a sum of {terms.purpose} in round {terms.round_number} was confirmed "
            "before, of other silos; a second one could show the update of a single "
            "silo"
        )


def claimed_silos(folder: Path, terms: AggregationTerms) -> tuple[str, ...]:
    """Whose sum was confirmed in this round before; nobody's, if none was."""
    path = _note(folder, _name(terms, ""))
    if not terms.round_number or not path.exists():
        return ()
    _, _, silos = path.read_text("utf-8").partition("\n")
    return tuple(json.loads(silos))


def _first_or_same(
    folder: Path, terms: AggregationTerms, matter: str, value: str
) -> bool:
    """Note the value durably; False: another one was noted before."""
    if not terms.round_number:
        return True
    name = _name(terms, matter)
    noted = f"{name}\n{value}"
    path = _note(folder, name)
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(path, noted.encode())
    return path.read_text("utf-8") == noted


def _name(terms: AggregationTerms, matter: str) -> str:
    name = f"{terms.run_id}/{terms.round_number}/{terms.purpose}"
    return f"{name}/{matter}" if matter else name


def _note(folder: Path, name: str) -> Path:
    return folder / CONFIRMED / hashlib.sha256(name.encode()).hexdigest()

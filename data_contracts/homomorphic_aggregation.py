"""Wire messages of the homomorphic mode, beyond those it shares with masking.

In the order of the phases; the protocol is `tasks/secure_aggregation/HOMOMORPHIC.md`.
Keys and ciphertexts travel as bytes. Every receiver calls `check` before it parses
any of them, so nothing of another size reaches the library that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    HASH_BYTES,
    MAX_SILOS,
    NONCE_BYTES,
    ConfirmedList,
    Roster,
)

# Two polynomials of 4096 coefficients of 8 bytes, and what describes them.
CIPHERTEXT_BYTES = 2 * 4096 * 8 + 1024
# The secret key (two residues of 4096 coefficients), its description, the tag key.
KEY_BOX_BYTES = 2 * 4096 * 8 + 2048


@dataclass(frozen=True)
class KeyBox:
    """The shared key, readable by `recipient` only."""

    recipient: str
    nonce: bytes
    ciphertext: bytes

    def check(self) -> None:
        """Refuse fields of impossible size."""
        _require(len(self.nonce) == NONCE_BYTES, f"a nonce must be {NONCE_BYTES} bytes")
        _require_at_most("a key box", self.ciphertext, KEY_BOX_BYTES)


@dataclass(frozen=True)
class SealedKey:
    """Phase `DEAL_KEY`, dealer to coordinator: a box for each silo of the roster.

    Attributes:
        silo: the dealer.
        context: hash of roster, dealer and parameters.
        boxes: in the order of the roster, one for the dealer itself included.
    """

    silo: str
    context: bytes
    boxes: tuple[KeyBox, ...]

    def check(self) -> None:
        """Refuse fields of impossible size."""
        _require_context(self.context)
        _require(len(self.boxes) <= MAX_SILOS, f"more than {MAX_SILOS} boxes")
        for box in self.boxes:
            box.check()


@dataclass(frozen=True)
class KeyDelivery:
    """Coordinator to one silo: whose keys are in, who dealt, and its own box."""

    roster: Roster
    dealer: str
    box: KeyBox

    def check(self) -> None:
        """Refuse fields of impossible size."""
        self.roster.check()
        self.box.check()


@dataclass(frozen=True)
class EncryptedInput:
    """Phase `ENCRYPTED_INPUT`, silo to coordinator.

    Attributes:
        silo: sender.
        context: hash of roster, dealer and parameters.
        ciphertexts: of 4095 numbers and their tag each.
        sha256: hex digest of the ciphertexts, joined.
    """

    silo: str
    context: bytes
    ciphertexts: tuple[bytes, ...]
    sha256: str

    def check(self) -> None:
        """Refuse fields of impossible size."""
        _require_context(self.context)
        for ciphertext in self.ciphertexts:
            _require_at_most("a ciphertext", ciphertext, CIPHERTEXT_BYTES)


@dataclass(frozen=True)
class SumToOpen:
    """Coordinator to silos: the encrypted sum, and who signed what is in it."""

    confirmed: ConfirmedList
    ciphertexts: tuple[bytes, ...]

    def check(self) -> None:
        """Refuse fields of impossible size."""
        self.confirmed.check()
        for ciphertext in self.ciphertexts:
            _require_at_most("a ciphertext", ciphertext, CIPHERTEXT_BYTES)


@dataclass(frozen=True)
class OpenedSum:
    """Phase `OPEN_SUM`, silo to coordinator: SHA-256 hex of the integers it read."""

    silo: str
    context: bytes
    sha256: str

    def check(self) -> None:
        """Refuse a context of wrong size."""
        _require_context(self.context)


@dataclass(frozen=True)
class ReadRequest:
    """Coordinator to one silo: send the integers you opened."""

    context: bytes


@dataclass(frozen=True, eq=False)
class SumWords:
    """Phase `READ_SUM`, silo to coordinator: the integers, int64 [d]."""

    silo: str
    context: bytes
    total: NDArray[np.int64]

    def check(self) -> None:
        """Refuse anything but a flat vector of int64."""
        _require_context(self.context)
        flat = self.total.ndim == 1 and self.total.flags.c_contiguous
        _require(
            self.total.dtype == np.int64 and flat, "the sum must be a flat int64 vector"
        )


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ProtocolError(f"homomorphic aggregation refused a message: {complaint}")


def _require_context(context: bytes) -> None:
    _require(len(context) == HASH_BYTES, f"the context must be {HASH_BYTES} bytes")


def _require_at_most(name: str, value: bytes, most: int) -> None:
    _require(
        0 < len(value) <= most, f"{name} has {len(value)} bytes, must be 1 to {most}"
    )

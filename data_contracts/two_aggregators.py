"""Wire messages of the mode with two aggregators, in the order they are sent.

The protocol is `tasks/secure_aggregation/TWO_AGGREGATORS.md`. Every receiver calls
`check` before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.secure_aggregation import (
    HASH_BYTES,
    KEY_BYTES,
    MAX_SILOS,
    NONCE_BYTES,
    SIGNATURE_BYTES,
    require,
    require_flat_words,
    require_size,
)

SALT_BYTES = 32
SEED_BOX_BYTES = KEY_BYTES + 16  # a seed and the AES-GCM tag


@dataclass(frozen=True)
class AuditorKey:
    """Phase `OPEN_AUDIT`, auditor to coordinator to silos.

    Attributes:
        silo: the auditor's name.
        key: X25519 public key that seeds are sealed for, fresh for this sum.
        identity: Ed25519 public key of the auditor, the same in every run.
        signature: of the identity, over the terms and the key.
    """

    silo: str
    key: bytes
    identity: bytes
    signature: bytes

    def check(self) -> None:
        """Refuse fields of wrong size."""
        require_size("key", self.key, KEY_BYTES)
        require_size("identity", self.identity, KEY_BYTES)
        require_size("signature", self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True)
class SeedBox:
    """A silo's seed, readable by the auditor only, bound to one upload.

    Attributes:
        silo: whose seed it is.
        commitment: hex digest that binds it to the upload it masks; without the salt
            of `SplitInput` nobody can try out what that upload might be.
        key: X25519 public key of the silo, fresh for this sum.
        nonce: of the box.
        ciphertext: the sealed seed.
        identity: Ed25519 public key of the silo.
        signature: of the identity, over the context and everything above.
    """

    silo: str
    commitment: str
    key: bytes
    nonce: bytes
    ciphertext: bytes
    identity: bytes
    signature: bytes

    def check(self) -> None:
        """Refuse fields of wrong size."""
        require_size("commitment", self.commitment.encode(), 2 * HASH_BYTES)
        require_size("key", self.key, KEY_BYTES)
        require_size("nonce", self.nonce, NONCE_BYTES)
        require_size("ciphertext", self.ciphertext, SEED_BOX_BYTES)
        require_size("identity", self.identity, KEY_BYTES)
        require_size("signature", self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True, eq=False)
class SplitInput:
    """Phase `SPLIT_INPUT`, silo to coordinator; the box goes on to the auditor.

    Attributes:
        silo: sender.
        context: context hash.
        words: uint of the ring [d], the input plus one mask.
        salt: fresh random bytes of the commitment; never shown to the auditor.
        box: the seed of that mask, for the auditor.
    """

    silo: str
    context: bytes
    words: NDArray[np.unsignedinteger]
    salt: bytes
    box: SeedBox

    def check(self) -> None:
        """Refuse fields of wrong size or form."""
        require_size("context", self.context, HASH_BYTES)
        require_flat_words(self.words)
        require_size("salt", self.salt, SALT_BYTES)
        self.box.check()


@dataclass(frozen=True)
class MaskRequest:
    """Coordinator to auditor: whose masks to add up, in order of seats.

    Attributes:
        context: context hash.
        length: words [d] of every input.
        boxes: one for each silo in the sum.
    """

    context: bytes
    length: int
    boxes: tuple[SeedBox, ...]

    def check(self) -> None:
        """Refuse a request with a silo twice, or a bad box."""
        require_size("context", self.context, HASH_BYTES)
        require(len(self.boxes) <= MAX_SILOS, f"more than {MAX_SILOS} boxes")
        silos = {box.silo for box in self.boxes}
        require(len(silos) == len(self.boxes), "a silo is listed twice")
        for box in self.boxes:
            box.check()


@dataclass(frozen=True, eq=False)
class MaskSum:
    """Phase `SUM_MASKS`, auditor to coordinator.

    Attributes:
        silo: the auditor's name.
        context: context hash.
        words: uint of the ring [d], the sum of the masks that were asked for.
        signature: of the auditor's identity, over the request and the words.
    """

    silo: str
    context: bytes
    words: NDArray[np.unsignedinteger]
    signature: bytes

    def check(self) -> None:
        """Refuse fields of wrong size or form."""
        require_size("context", self.context, HASH_BYTES)
        require_flat_words(self.words)
        require_size("signature", self.signature, SIGNATURE_BYTES)

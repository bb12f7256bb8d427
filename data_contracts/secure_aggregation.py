"""Wire messages of secure aggregation, and its terms.

What silos and coordinator say to each other, in the order of `Phase`; the protocol
itself is `tasks/secure_aggregation/PROTOCOL.md`. Every receiver calls `check` before
anything else, because unpickling builds objects without asking them. Left out: a byte
format, which belongs to the exchange between organisations.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.mask_graph import sparse_graph, usual_neighbours
from data_contracts.workspace import COUNTS, InputKind

Words = NDArray[np.unsignedinteger]

PROTOCOL_VERSION = 1
MAX_SILOS = 1000
MAX_LENGTH = 2**32  # words; 16 GiB
RINGS = (8, 16, 32)
KEY_BYTES = 32
HASH_BYTES = 32
SIGNATURE_BYTES = 64
NONCE_BYTES = 12
SHARE_BYTES = 33  # one element of GF(2^256 + 297)
BOX_BYTES = 2 * SHARE_BYTES + 16  # two shares and the AES-GCM tag


class Phase(StrEnum):
    """What the protocol is doing."""

    ADVERTISE_KEYS = "advertise keys"
    SHARE_KEYS = "share keys"
    MASKED_INPUT = "masked input"
    CONFIRM = "confirm survivors"
    UNMASKING = "unmasking"
    OPEN_AUDIT = "open audit"
    SPLIT_INPUT = "split input"
    SUM_MASKS = "sum masks"
    PLAIN_INPUT = "plain input"
    DEAL_KEY = "deal key"
    ENCRYPTED_INPUT = "encrypted input"
    OPEN_SUM = "open sum"
    READ_SUM = "read sum"


def threshold_for(num_silos: int) -> int:
    """T = floor(2n/3) + 1 silos open a sum; fewer learn nothing (PROTOCOL.md, 6).

    >>> [threshold_for(n) for n in (2, 3, 5, 10, 100)]
    [2, 3, 4, 7, 67]
    """
    return 2 * num_silos // 3 + 1


@dataclass(frozen=True, kw_only=True)
class AggregationTerms:
    """What everybody must agree on before one aggregation.

    Attributes:
        run_id: the run this sum belongs to.
        round_number: round within the run; 0 before the first.
        manifest_hash: of the identities that all silos agreed on; empty if they did
            not, and believe each identity that they see first.
        neighbours: how many others a silo shares masks with; 0: all of them.
        attempt: from 1; a retry is another attempt with fresh keys.
        purpose: what is summed, for example `model update`.
        members: all silos; the seat of a silo is its place here, from 1.
        threshold: silos needed to open the sum.
        min_silos: fewest inputs in a sum that is opened.
        kind: ring, encoding and global model of the inputs.
        version: of the protocol.
    """

    run_id: str
    round_number: int
    purpose: str
    members: tuple[str, ...]
    threshold: int
    min_silos: int
    kind: InputKind = COUNTS
    manifest_hash: str = ""
    neighbours: int = 0
    attempt: int = 1
    version: int = PROTOCOL_VERSION

    @property
    def quorum(self) -> int:
        """Fewest silos with which any phase goes on."""
        return max(self.threshold, self.min_silos)

    @property
    def share_threshold(self) -> int:
        """Shares that open a secret of one silo."""
        if not self.neighbours:
            return self.threshold
        return sparse_graph(len(self.members)).threshold

    def seat(self, silo: str) -> int:
        """The silo's place among the members, from 1; its Shamir coordinate."""
        return self.members.index(silo) + 1

    def check(self) -> None:
        """Refuse terms under which nothing would be protected.

        Raises:
            ProtocolError: says which term, and what it should be.
        """
        n = len(self.members)
        require(
            self.version == PROTOCOL_VERSION,
            f"protocol version {self.version}, this side speaks {PROTOCOL_VERSION}",
        )
        require(2 <= n <= MAX_SILOS, f"{n} members, must be 2 to {MAX_SILOS}")
        require(len(set(self.members)) == n, "a member is listed twice")
        require(
            self.threshold == threshold_for(n),
            f"threshold {self.threshold} for {n} members, must be {threshold_for(n)}",
        )
        require(
            self.neighbours in (0, usual_neighbours(n)),
            f"{self.neighbours} neighbours for {n} members, must be 0 or "
            f"{usual_neighbours(n)}",
        )
        require(
            1 <= self.min_silos <= n, f"min_silos {self.min_silos}, must be 1 to {n}"
        )
        require(
            self.kind.ring_bits in RINGS,
            f"ring of {self.kind.ring_bits} bits, must be 8, 16 or 32",
        )


@dataclass(frozen=True)
class KeyAdvertisement:
    """Phase `ADVERTISE_KEYS`, silo to coordinator.

    Attributes:
        silo: sender.
        length: words [d] of its input.
        channel_key: X25519 public key that seals shares.
        mask_key: X25519 public key that pairwise masks come from.
        identity: Ed25519 public key of the silo, the same in every run.
        signature: of the identity, over both keys and the context.
    """

    silo: str
    length: int
    channel_key: bytes
    mask_key: bytes
    identity: bytes
    signature: bytes

    def check(self) -> None:
        """Refuse keys or lengths of impossible size."""
        require(0 <= self.length <= MAX_LENGTH, f"length must be 0 to {MAX_LENGTH}")
        require_size("channel_key", self.channel_key, KEY_BYTES)
        require_size("mask_key", self.mask_key, KEY_BYTES)
        require_size("identity", self.identity, KEY_BYTES)
        require_size("signature", self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True)
class Roster:
    """U1, coordinator to silos: everybody whose keys arrived, in order of seats."""

    context: bytes
    length: int
    keys: tuple[KeyAdvertisement, ...]

    @property
    def silos(self) -> tuple[str, ...]:
        """Members of U1."""
        return tuple(key.silo for key in self.keys)

    def check(self) -> None:
        """Refuse an oversized roster or a bad advertisement in it."""
        require_size("context", self.context, HASH_BYTES)
        require(len(self.keys) <= MAX_SILOS, f"more than {MAX_SILOS} keys")
        for key in self.keys:
            key.check()


@dataclass(frozen=True)
class SealedBox:
    """Two shares of `dealer`, readable by `recipient` only, and their commitments."""

    dealer: str
    recipient: str
    seed_commitment: bytes
    key_commitment: bytes
    nonce: bytes
    ciphertext: bytes

    def check(self) -> None:
        """Refuse fields of wrong size."""
        require_size("seed_commitment", self.seed_commitment, HASH_BYTES)
        require_size("key_commitment", self.key_commitment, HASH_BYTES)
        require_size("nonce", self.nonce, NONCE_BYTES)
        require_size("ciphertext", self.ciphertext, BOX_BYTES)


@dataclass(frozen=True)
class SealedShares:
    """Phase `SHARE_KEYS`, silo to coordinator: a box for itself and each neighbour.

    Attributes:
        silo: the dealer.
        context: context hash.
        seed_hash: commitment to the seed of the self mask.
        boxes: in the order of the roster, one for the dealer itself included.
    """

    silo: str
    context: bytes
    seed_hash: bytes
    boxes: tuple[SealedBox, ...]

    def check(self) -> None:
        """Refuse fields of wrong size."""
        require_size("context", self.context, HASH_BYTES)
        require_size("seed_hash", self.seed_hash, HASH_BYTES)
        require(len(self.boxes) <= MAX_SILOS, f"more than {MAX_SILOS} boxes")
        for box in self.boxes:
            box.check()


@dataclass(frozen=True)
class ShareDelivery:
    """U2, coordinator to one silo.

    Attributes:
        context: context hash.
        dealers: (silo, hash of all it dealt) of U2, in order of seats.
        boxes: what its neighbours and it itself dealt to it, in the same order.
    """

    context: bytes
    dealers: tuple[tuple[str, bytes], ...]
    boxes: tuple[SealedBox, ...]

    @property
    def silos(self) -> tuple[str, ...]:
        """Members of U2."""
        return tuple(silo for silo, _ in self.dealers)

    def check(self) -> None:
        """Refuse fields of wrong size, or boxes that do not match the dealers."""
        require_size("context", self.context, HASH_BYTES)
        require(
            {box.dealer for box in self.boxes} <= set(self.silos),
            "a box comes from a silo that is no dealer",
        )
        for box in self.boxes:
            box.check()


@dataclass(frozen=True, eq=False)
class MaskedInput:
    """Phase `MASKED_INPUT`, silo to coordinator.

    Attributes:
        silo: sender.
        context: context hash.
        words: uint of the ring [d], input plus all masks modulo 2^ring_bits.
        sha256: hex digest of the words as little-endian bytes.
    """

    silo: str
    context: bytes
    words: Words
    sha256: str

    def check(self) -> None:
        """Refuse anything but a flat vector of words."""
        require_size("context", self.context, HASH_BYTES)
        require_flat_words(self.words)


@dataclass(frozen=True, eq=False)
class PlainInput:
    """Phase `PLAIN_INPUT`, silo to coordinator: the words in the clear."""

    silo: str
    words: Words

    def check(self) -> None:
        """Refuse anything but a flat vector of words."""
        require_flat_words(self.words)


@dataclass(frozen=True)
class SurvivorList:
    """U3, coordinator to silos: (silo, sha256 of its upload), in order of seats."""

    context: bytes
    uploads: tuple[tuple[str, str], ...]

    @property
    def silos(self) -> tuple[str, ...]:
        """Members of U3."""
        return tuple(silo for silo, _ in self.uploads)

    def check(self) -> None:
        """Refuse a list in which a silo appears twice."""
        require_size("context", self.context, HASH_BYTES)
        require(len(set(self.silos)) == len(self.silos), "a survivor is listed twice")


@dataclass(frozen=True)
class Confirmation:
    """Phase `CONFIRM`, silo to coordinator: its signature on U3."""

    silo: str
    context: bytes
    signature: bytes

    def check(self) -> None:
        """Refuse fields of wrong size."""
        require_size("context", self.context, HASH_BYTES)
        require_size("signature", self.signature, SIGNATURE_BYTES)


@dataclass(frozen=True)
class ConfirmedList:
    """Coordinator to silos: (silo, its signature on U3), in order of seats."""

    context: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def silos(self) -> tuple[str, ...]:
        """Who confirmed."""
        return tuple(silo for silo, _ in self.signatures)

    def check(self) -> None:
        """Refuse fields of wrong size, or a silo that appears twice."""
        require_size("context", self.context, HASH_BYTES)
        require(len(set(self.silos)) == len(self.silos), "a silo confirmed twice")
        for _, signature in self.signatures:
            require_size("signature", signature, SIGNATURE_BYTES)


@dataclass(frozen=True)
class RevealedShares:
    """Phase `UNMASKING`, silo to coordinator.

    Attributes:
        silo: sender.
        context: context hash.
        seed_shares: (dealer, share of its self-mask seed) for each of U3.
        key_shares: (dealer, share of its mask key) for each of U2 without U3.
    """

    silo: str
    context: bytes
    seed_shares: tuple[tuple[str, bytes], ...]
    key_shares: tuple[tuple[str, bytes], ...]

    def check(self) -> None:
        """Refuse fields of wrong size."""
        require_size("context", self.context, HASH_BYTES)
        for _, share in (*self.seed_shares, *self.key_shares):
            require_size("share", share, SHARE_BYTES)


SiloMessage = (
    KeyAdvertisement | SealedShares | MaskedInput | Confirmation | RevealedShares
) | PlainInput


def require(condition: bool, complaint: str) -> None:
    """Refuse a message, with the reason."""
    if not condition:
        raise ProtocolError(f"secure aggregation refused a message: {complaint}")


def require_size(name: str, value: bytes, size: int) -> None:
    """Refuse a field of another size."""
    require(len(value) == size, f"{name} has {len(value)} bytes, must be {size}")


def require_flat_words(words: Words) -> None:
    """Refuse anything but a flat vector of words of some ring."""
    require(
        words.dtype in {np.dtype(f"u{bits // 8}") for bits in RINGS}
        and words.ndim == 1
        and words.flags.c_contiguous,
        "words must be a flat, contiguous vector of uint32, uint16 or uint8",
    )

"""Which message is legal in which state: two tables, looked up and never repeated.

A silo's states are the facts it keeps until the next message, and nothing else: what a
state does not name, the silo has forgotten. (After h11's `_state.py`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Confirmation,
    ConfirmedList,
    KeyAdvertisement,
    MaskedInput,
    RevealedShares,
    Roster,
    SealedShares,
    ShareDelivery,
    SurvivorList,
)
from tasks.secure_aggregation.boxes import SealedChannel, Shares
from tasks.secure_aggregation.keys import KeyPair


@dataclass(frozen=True)
class Idle:
    """The silo has said nothing."""


@dataclass(frozen=True)
class KeysAdvertised:
    """The silo's public keys are out.

    Attributes:
        terms: as offered.
        context: ctx for these terms and the silo's own length.
        length: words of the silo's input.
        channel: key pair that opens boxes.
        mask: key pair of the pairwise masks.
    """

    terms: AggregationTerms
    context: bytes
    length: int
    channel: KeyPair
    mask: KeyPair


@dataclass(frozen=True)
class SharesDealt:
    """The silo's secrets lie, sealed, with everybody in the roster.

    Attributes:
        before: what it knew when it advertised.
        roster: U1.
        circle: the silo and its neighbours in U1.
        channel: the private line to all of U1.
        seed: of its self mask.
        dealt_hash: hash of all it dealt.
    """

    before: KeysAdvertised
    roster: Roster
    circle: tuple[str, ...]
    channel: SealedChannel
    seed: bytes = field(repr=False)
    dealt_hash: bytes


@dataclass(frozen=True)
class InputUploaded:
    """The masked input is out; the silo's own secrets are forgotten.

    Attributes:
        terms: as offered.
        context: ctx.
        identities: silo -> its public key, for all of U1.
        dealers: U2.
        shares: dealer -> its shares in our keeping, for neighbours in U2 and itself.
        sha256: hex digest of the upload.
    """

    terms: AggregationTerms
    context: bytes
    identities: Mapping[str, bytes]
    dealers: tuple[str, ...]
    shares: Mapping[str, Shares]
    sha256: str


@dataclass(frozen=True)
class ListConfirmed:
    """The silo has signed one U3 and will reveal for no other.

    Attributes:
        before: what it knew when it uploaded.
        survivors: U3.
    """

    before: InputUploaded
    survivors: SurvivorList


@dataclass(frozen=True)
class Finished:
    """Shares are revealed and forgotten: no second list can be answered."""


@dataclass(frozen=True)
class Aborted:
    """Something was wrong; every secret is forgotten."""


State = TypeVar("State")
ClientState = (
    Idle
    | KeysAdvertised
    | SharesDealt
    | InputUploaded
    | ListConfirmed
    | Finished
    | Aborted
)

CLIENT: Mapping[type, Mapping[type, type]] = {
    Idle: {AggregationTerms: KeysAdvertised},
    KeysAdvertised: {Roster: SharesDealt},
    SharesDealt: {ShareDelivery: InputUploaded},
    InputUploaded: {SurvivorList: ListConfirmed},
    ListConfirmed: {ConfirmedList: Finished},
    Finished: {},
    Aborted: {},
}


class ServerState(StrEnum):
    """What the coordinator is collecting."""

    COLLECTING_KEYS = "collecting keys"
    COLLECTING_SHARES = "collecting sealed shares"
    COLLECTING_INPUTS = "collecting masked inputs"
    COLLECTING_CONFIRMATIONS = "collecting confirmations"
    COLLECTING_REVEALS = "collecting revealed shares"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class PhaseClosed:
    """The coordinator waits no longer for this phase."""


SERVER: Mapping[ServerState, Mapping[type, ServerState]] = {
    ServerState.COLLECTING_KEYS: {
        KeyAdvertisement: ServerState.COLLECTING_KEYS,
        PhaseClosed: ServerState.COLLECTING_SHARES,
    },
    ServerState.COLLECTING_SHARES: {
        SealedShares: ServerState.COLLECTING_SHARES,
        PhaseClosed: ServerState.COLLECTING_INPUTS,
    },
    ServerState.COLLECTING_INPUTS: {
        MaskedInput: ServerState.COLLECTING_INPUTS,
        PhaseClosed: ServerState.COLLECTING_CONFIRMATIONS,
    },
    ServerState.COLLECTING_CONFIRMATIONS: {
        Confirmation: ServerState.COLLECTING_CONFIRMATIONS,
        PhaseClosed: ServerState.COLLECTING_REVEALS,
    },
    ServerState.COLLECTING_REVEALS: {
        RevealedShares: ServerState.COLLECTING_REVEALS,
        PhaseClosed: ServerState.FINISHED,
    },
    ServerState.FINISHED: {},
    ServerState.FAILED: {},
}


def next_state(
    moves: Mapping[type, State], message: object, *, sender: str, state: str
) -> State:
    """Where `message` leads from here.

    Raises:
        ProtocolError: what, from whom, in which state, and what would be legal.
    """
    if type(message) not in moves:
        legal = " or ".join(kind.__name__ for kind in moves) or "nothing any more"
        raise ProtocolError(
            f"secure aggregation refused {type(message).__name__} from {sender} in "
            f"state {state}: legal here is {legal}"
        )
    return moves[type(message)]

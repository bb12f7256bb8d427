"""Which message is legal in which state of the homomorphic mode: two tables.

As in `transitions.py`: a silo's states are the facts it keeps until the next message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data_contracts.homomorphic_aggregation import (
    EncryptedInput,
    KeyDelivery,
    OpenedSum,
    ReadRequest,
    SealedKey,
    SumToOpen,
    SumWords,
)
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Confirmation,
    KeyAdvertisement,
    Roster,
    SurvivorList,
)
from tasks.secure_aggregation.ciphertexts import SecretKey
from tasks.secure_aggregation.sum_tags import SumTags
from tasks.secure_aggregation.transitions import (
    Aborted,
    Finished,
    Idle,
    KeysAdvertised,
    PhaseClosed,
)


@dataclass(frozen=True)
class InputEncrypted:
    """The encrypted input is out.

    Attributes:
        before: what the silo knew when it advertised its keys.
        context: hash of roster, dealer and parameters.
        identities: silo -> its public key, for all of the roster.
        key: reads the sum.
        tags: show whether it is the sum.
        sha256: hex digest of the own upload.
    """

    before: KeysAdvertised
    context: bytes
    identities: Mapping[str, bytes]
    key: SecretKey
    tags: SumTags
    sha256: str


@dataclass(frozen=True)
class SurvivorsConfirmed:
    """The silo has signed one list and will open the sum of no other."""

    before: InputEncrypted
    survivors: SurvivorList


@dataclass(frozen=True, eq=False)
class SumIsOpen:
    """The silo holds the sum; the key is forgotten."""

    context: bytes
    total: NDArray[np.int64]


HolderState = (
    Idle
    | KeysAdvertised
    | InputEncrypted
    | SurvivorsConfirmed
    | SumIsOpen
    | Finished
    | Aborted
)

HOLDER: Mapping[type, Mapping[type, type]] = {
    Idle: {AggregationTerms: KeysAdvertised},
    # A dealer goes on like everybody else: it gets its own box back.
    KeysAdvertised: {Roster: KeysAdvertised, KeyDelivery: InputEncrypted},
    InputEncrypted: {SurvivorList: SurvivorsConfirmed},
    SurvivorsConfirmed: {SumToOpen: SumIsOpen},
    SumIsOpen: {ReadRequest: Finished},
    Finished: {},
    Aborted: {},
}


class AdderState(StrEnum):
    """What the coordinator is collecting."""

    COLLECTING_KEYS = "collecting keys"
    COLLECTING_BOXES = "collecting sealed keys"
    COLLECTING_INPUTS = "collecting encrypted inputs"
    COLLECTING_CONFIRMATIONS = "collecting confirmations"
    COLLECTING_OPENED = "collecting hashes of the opened sum"
    COLLECTING_SUM = "collecting the opened sum"
    FINISHED = "finished"
    FAILED = "failed"


ADDER: Mapping[AdderState, Mapping[type, AdderState]] = {
    AdderState.COLLECTING_KEYS: {
        KeyAdvertisement: AdderState.COLLECTING_KEYS,
        PhaseClosed: AdderState.COLLECTING_BOXES,
    },
    AdderState.COLLECTING_BOXES: {
        SealedKey: AdderState.COLLECTING_BOXES,
        PhaseClosed: AdderState.COLLECTING_INPUTS,
    },
    AdderState.COLLECTING_INPUTS: {
        EncryptedInput: AdderState.COLLECTING_INPUTS,
        PhaseClosed: AdderState.COLLECTING_CONFIRMATIONS,
    },
    AdderState.COLLECTING_CONFIRMATIONS: {
        Confirmation: AdderState.COLLECTING_CONFIRMATIONS,
        PhaseClosed: AdderState.COLLECTING_OPENED,
    },
    AdderState.COLLECTING_OPENED: {
        OpenedSum: AdderState.COLLECTING_OPENED,
        PhaseClosed: AdderState.COLLECTING_SUM,
    },
    AdderState.COLLECTING_SUM: {
        SumWords: AdderState.COLLECTING_SUM,
        PhaseClosed: AdderState.FINISHED,
    },
    AdderState.FINISHED: {},
    AdderState.FAILED: {},
}

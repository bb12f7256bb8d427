"""All parties of one secure aggregation in this process, open to tampering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import FailureReason, ProtocolError
from data_contracts.secure_aggregation import (
    KEY_BYTES,
    AggregationTerms,
    ConfirmedList,
    KeyAdvertisement,
    Roster,
    ShareDelivery,
    SurvivorList,
    threshold_for,
)
from data_contracts.workspace import InputKind, SiloFailure
from models.fixed_point import limit_for, signed
from tasks.secure_aggregation.client import Client
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.server import Server
from tests.simulators.deterministic_bytes import deterministic_bytes

Tamper = Callable[[Any], Any]


def terms_for(num_silos: int, **changes: Any) -> AggregationTerms:
    """Ordinary terms for silos named silo-1, silo-2, ..."""
    values: dict[str, Any] = {
        "run_id": "run-1",
        "round_number": 3,
        "purpose": "model update",
        "members": tuple(f"silo-{i}" for i in range(1, num_silos + 1)),
        "threshold": threshold_for(num_silos),
        "min_silos": 2,
        "kind": InputKind(32, "cd" * 32, "ab" * 32),
    }
    return AggregationTerms(**(values | changes))


def identity_of(silo: str) -> Identity:
    """The same in every round."""
    return Identity(deterministic_bytes(f"identity of {silo}")(KEY_BYTES))


def stranger_keys(name: str) -> KeyAdvertisement:
    """Well-formed keys that belong to no round."""
    return KeyAdvertisement(name, 1, *(b"%d" % i * 32 for i in range(1, 4)), bytes(64))


@dataclass
class SecureRound:
    """One attempt, phase by phase.

    Attributes:
        terms: what the coordinator offers.
        inputs: silo -> uint32 [d].
        tamper: (silo, message type) -> what becomes of that message on its way.
        gone: (silo, message type) the silo never sends.
    """

    terms: AggregationTerms
    inputs: Mapping[str, NDArray[np.uint32]]
    tamper: dict[tuple[str, str], Tamper] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    seed: str = "round"

    def __post_init__(self) -> None:
        self.server = Server(self.terms)
        self.clients = {
            silo: Client(
                silo, deterministic_bytes(f"{self.seed}/{silo}"), identity_of(silo)
            )
            for silo in self.inputs
        }
        self.uploads: dict[str, NDArray[np.uint32]] = {}

    def run(self) -> NDArray[np.int64]:
        """The whole protocol."""
        return self.reveal(self.confirm(self.upload(self.share(self.advertise()))))

    def advertise(self) -> Roster:
        for silo, client in self.clients.items():
            size = self.inputs[silo].size
            self._pass_on(
                silo, lambda c=client, n=size: c.advertise_keys(self.terms, n)
            )
        return self.server.close_advertising()

    def share(self, roster: Roster) -> dict[str, ShareDelivery]:
        for silo in roster.silos:
            client, own = self.clients[silo], self._changed(silo, roster)
            self._pass_on(silo, lambda c=client, r=own: c.share_keys(r))
        return self.server.close_sharing()

    def upload(self, deliveries: dict[str, ShareDelivery]) -> SurvivorList:
        for silo, delivery in deliveries.items():
            self._pass_on(silo, lambda s=silo, d=delivery: self._masked(s, d))
        return self.server.close_uploads()

    def confirm(self, survivors: SurvivorList) -> ConfirmedList:
        for silo in survivors.silos:
            client, own = self.clients[silo], self._changed(silo, survivors)
            self._pass_on(silo, lambda c=client, u3=own: c.confirm_survivors(u3))
        return self.server.close_confirmations()

    def reveal(self, confirmed: ConfirmedList) -> NDArray[np.int64]:
        for silo in confirmed.silos:
            client, own = self.clients[silo], self._changed(silo, confirmed)
            self._pass_on(silo, lambda c=client, u4=own: c.reveal_shares(u4))
        return self.server.unmask()

    def _masked(self, silo: str, delivery: ShareDelivery) -> Any:
        words = self.inputs[silo].copy()
        message = self.clients[silo].mask_input(self._changed(silo, delivery), words)
        self.uploads[silo] = message.words
        return message

    def _changed(self, silo: str, message: Any) -> Any:
        change = self.tamper.get((silo, type(message).__name__), lambda m: m)
        return change(message)

    def _pass_on(self, silo: str, make: Callable[[], Any]) -> None:
        try:
            message = make()
            if (silo, type(message).__name__) in self.gone:
                self.server.lose(SiloFailure(silo, FailureReason.DIED, "gone"))
                return
            self.server.receive(silo, self._changed(silo, message))
        except ProtocolError as error:
            self.server.lose(SiloFailure(silo, error.reason, error.message))


def random_inputs(
    num_silos: int, length: int, *, seed: int = 0, ring_bits: int = 32
) -> dict[str, NDArray[np.unsignedinteger]]:
    """Integers that fill most of the ring, as its words, for silo-1, silo-2, ..."""
    bound = min(2**23, limit_for(num_silos, ring_bits))
    numbers = np.random.default_rng(seed).integers(
        -bound, bound, size=(num_silos, length), dtype=f"i{ring_bits // 8}"
    )
    return {
        f"silo-{i}": row.view(f"u{ring_bits // 8}") for i, row in enumerate(numbers, 1)
    }


def integer_sum(inputs: Mapping[str, NDArray[np.uint32]]) -> list[int]:
    """The sum in Python's unbounded integers."""
    rows = [signed(words).tolist() for words in inputs.values()]
    return [sum(column) for column in zip(*rows, strict=True)]

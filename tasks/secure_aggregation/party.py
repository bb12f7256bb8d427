"""What a silo does the same way in every mode with keys: states, and what it checks.

Implements the checks of PROTOCOL.md, section 3, that do not depend on how inputs are
hidden. Left out: what a mode does in between, which is `client.py` and `key_holder.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, TypeVar

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    ConfirmedList,
    KeyAdvertisement,
    Roster,
    SurvivorList,
)
from tasks.secure_aggregation.context import context_hash
from tasks.secure_aggregation.identity import (
    Identity,
    keys_are_signed,
    survivors_are_signed,
)
from tasks.secure_aggregation.keys import KeyPair, RandomBytes
from tasks.secure_aggregation.transitions import (
    Aborted,
    Idle,
    KeysAdvertised,
    next_state,
)

State = TypeVar("State")
NOBODY: Mapping[str, bytes] = MappingProxyType({})


class Party:
    """One silo in one attempt; each method answers one message.

    A message that is illegal in the present state is refused and changes nothing. A
    legal one that fails a check aborts the attempt: all secrets are forgotten.

    Args:
        silo: its name.
        random_bytes: source of every secret.
        identity: signs for it.
        pinned: silo -> the only public key it is known by, where one is known.
    """

    MOVES: ClassVar[Mapping[type, Mapping[type, type]]]
    MODE: ClassVar[str]

    def __init__(
        self,
        silo: str,
        random_bytes: RandomBytes,
        identity: Identity,
        pinned: Mapping[str, bytes] = NOBODY,
    ) -> None:
        self.silo = silo
        self._random_bytes = random_bytes
        self._identity = identity
        self._pinned = pinned
        self._state: object = Idle()
        self._next: type = Aborted

    @property
    def state(self) -> str:
        """Name of the state, for messages and tests."""
        return type(self._state).__name__

    def advertise_keys(self, terms: AggregationTerms, length: int) -> KeyAdvertisement:
        """Phase 0: fresh public keys for an input of `length` words.

        Raises:
            ProtocolError: the terms protect nothing, or do not name this silo.
        """
        self._leave(Idle, terms)
        terms.check()
        self._require(self.silo in terms.members, "the terms do not name this silo")
        channel, mask = (KeyPair.generate(self._random_bytes) for _ in range(2))
        context = context_hash(terms, length)
        held = KeysAdvertised(terms, context, length, channel, mask)
        self._enter(held)
        return self._advertisement(held)

    def _leave(self, kind: type[State], message: object) -> State:
        """What the silo held; until the handler is through, it counts as aborted."""
        state = self._state
        self._next = next_state(
            self.MOVES[type(state)], message, sender="the coordinator", state=self.state
        )
        assert isinstance(state, kind)
        self._state = Aborted()
        return state

    def _enter(self, state: object) -> None:
        assert type(state) is self._next
        self._state = state

    def _advertisement(self, held: KeysAdvertised) -> KeyAdvertisement:
        keys = held.channel.public, held.mask.public
        signature = self._identity.sign_keys(held.context, self.silo, *keys)
        return KeyAdvertisement(
            self.silo, held.length, *keys, self._identity.public, signature
        )

    def _check_roster(self, held: KeysAdvertised, roster: Roster) -> None:
        """U1 is of these terms, holds our own keys, and everybody's are their own."""
        roster.check()
        self._require(
            roster.context == held.context and roster.length == held.length,
            "the roster belongs to other terms or another vector length",
        )
        own = self._advertisement(held)
        self._require(own in roster.keys, "the roster does not hold our own keys")
        self._require_members(roster.silos, held.terms.members, held.terms)
        published = [k for ad in roster.keys for k in (ad.channel_key, ad.mask_key)]
        self._require(
            len(set(published)) == len(published), "the roster holds a key twice"
        )
        for key in roster.keys:
            self._require(
                self._pinned.get(key.silo, key.identity) == key.identity,
                f"{key.silo} shows another identity than the one it is known by here; "
                "if it was set up anew, take its line out of identities.json in this "
                "silo's folder",
            )
            self._require(
                keys_are_signed(roster.context, key),
                f"the keys of {key.silo} are not signed by it",
            )

    def _check_survivors(
        self,
        survivors: SurvivorList,
        context: bytes,
        among: Iterable[str],
        sha256: str,
        terms: AggregationTerms,
    ) -> None:
        """U3 is of this attempt, large enough, and holds our own upload."""
        survivors.check()
        self._require(survivors.context == context, "a list of another context")
        self._require_members(survivors.silos, among, terms)
        self._require(
            (self.silo, sha256) in survivors.uploads,
            "the coordinator lists another upload than ours",
        )

    def _check_confirmed(
        self,
        confirmed: ConfirmedList,
        survivors: SurvivorList,
        identities: Mapping[str, bytes],
        terms: AggregationTerms,
    ) -> None:
        """At least t silos of U3 signed exactly the list that we signed."""
        confirmed.check()
        self._require(
            confirmed.context == survivors.context, "a list of another context"
        )
        in_sum = set(survivors.silos)
        for silo, signature in confirmed.signatures:
            self._require(
                silo in in_sum
                and survivors_are_signed(identities[silo], signature, survivors),
                f"{silo} did not sign the list of survivors that we signed",
            )
        self._require(
            len(confirmed.signatures) >= terms.threshold,
            f"{len(confirmed.signatures)} silos confirmed the list of survivors, the "
            f"terms ask for {terms.threshold}",
        )

    def _require_members(
        self, silos: tuple[str, ...], among: Iterable[str], terms: AggregationTerms
    ) -> None:
        self._require(set(silos) <= set(among), "an unknown silo is listed")
        self._require(len(set(silos)) == len(silos), "a silo is listed twice")
        self._require(
            len(silos) >= terms.quorum,
            f"{len(silos)} silos are left, the terms ask for {terms.quorum}",
        )

    def _require(self, condition: bool, complaint: str) -> None:
        if not condition:
            raise ProtocolError(
                f"silo {self.silo} left {self.MODE} of this round: {complaint}"
            )

"""The sum in the clear: same inputs, same result type, no protection at all.

For debugging and for measuring what masking costs; the mode is in the result, the
record and the report.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Phase,
    PlainInput,
    SiloMessage,
)
from data_contracts.sum_parts import SumPart
from data_contracts.workspace import SiloFailure
from models.fixed_point import signed
from tasks.secure_aggregation.context import words_sha256
from tasks.secure_aggregation.quorum import (
    most_common_length,
    odd_lengths,
    require_quorum,
)
from tasks.secure_aggregation.running_sum import RunningSum


class PlainServer:
    """Collects inputs in the clear and adds them.

    Attributes:
        terms: what is summed; the threshold plays no role here.
        failures: silo -> why it was lost.
    """

    def __init__(self, terms: AggregationTerms) -> None:
        self.terms = terms
        self.failures: dict[str, SiloFailure] = {}
        self._inputs: dict[str, NDArray[np.unsignedinteger]] = {}

    @property
    def commitments(self) -> dict[str, str]:
        """Silo -> sha256 hex of its words, in order of seats."""
        members = self.terms.members
        return {s: words_sha256(self._inputs[s]) for s in members if s in self._inputs}

    def lose(self, failure: SiloFailure) -> None:
        """A silo gave no usable answer."""
        self.failures.setdefault(failure.silo, failure)

    def receive(self, sender: str, message: SiloMessage) -> None:
        """Take one silo's words.

        Raises:
            ProtocolError: not an input of this sender.
        """
        if not isinstance(message, PlainInput) or message.silo != sender:
            raise ProtocolError(f"silo {sender} did not send its own plain input")
        message.check()
        sent, agreed = message.words.itemsize * 8, self.terms.kind.ring_bits
        if sent != agreed:
            raise ProtocolError(
                f"silo {sender} sent words of {sent} bits instead of {agreed}"
            )
        self._inputs[sender] = message.words

    @property
    def parts(self) -> tuple[SumPart, ...]:
        """Each silo's input for itself, as signed integers, in order of seats."""
        return tuple(
            SumPart((silo,), signed(self._inputs[silo]))
            for silo in self.terms.members
            if silo in self._inputs
        )

    def add(self) -> NDArray[np.signedinteger]:
        """The signed sum [d] of the inputs of the most common length.

        Raises:
            QuorumLostError: fewer than `min_silos` are left.
        """
        lengths = {s: self._inputs[s].size for s in self.terms.members
                   if s in self._inputs}  # fmt: skip
        length = most_common_length(lengths)
        self.failures |= odd_lengths(lengths, length)
        self._inputs = {s: self._inputs[s] for s in lengths if lengths[s] == length}
        require_quorum(
            self._inputs,
            max(1, self.terms.min_silos),
            Phase.PLAIN_INPUT,
            self.terms,
            self.failures,
        )
        total = RunningSum()
        for words in self._inputs.values():
            total.add(words)
        return signed(total.take())

"""The coordinator's side of the mode with two aggregators (TWO_AGGREGATORS.md, 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError, QuorumLostError
from data_contracts.secure_aggregation import AggregationTerms, Phase
from data_contracts.two_aggregators import (
    AuditorKey,
    MaskRequest,
    MaskSum,
    SeedBox,
    SplitInput,
)
from data_contracts.workspace import SiloFailure
from models.fixed_point import signed
from tasks.secure_aggregation.auditor import fewest_inputs
from tasks.secure_aggregation.collector import Collector
from tasks.secure_aggregation.identity import is_signed
from tasks.secure_aggregation.running_sum import RunningSum
from tasks.secure_aggregation.seed_boxes import (
    auditor_is_genuine,
    box_is_signed,
    mask_sum_text,
    split_context,
    upload_commitment,
)
from tasks.secure_aggregation.transitions import PhaseClosed

SplitMessage = AuditorKey | SplitInput | MaskSum


class SplitState(StrEnum):
    """What the coordinator is waiting for."""

    AWAITING_KEY = "awaiting the auditor's key"
    COLLECTING_INPUTS = "collecting masked inputs"
    AWAITING_MASKS = "awaiting the sum of the masks"
    FINISHED = "finished"
    FAILED = "failed"


SPLIT = {
    SplitState.AWAITING_KEY: {
        AuditorKey: SplitState.AWAITING_KEY,
        PhaseClosed: SplitState.COLLECTING_INPUTS,
    },
    SplitState.COLLECTING_INPUTS: {
        SplitInput: SplitState.COLLECTING_INPUTS,
        PhaseClosed: SplitState.AWAITING_MASKS,
    },
    SplitState.AWAITING_MASKS: {
        MaskSum: SplitState.AWAITING_MASKS,
        PhaseClosed: SplitState.FINISHED,
    },
    SplitState.FINISHED: {},
    SplitState.FAILED: {},
}


@dataclass
class _Uploads:
    """Uploads of one length [d]: only these can be added up.

    Attributes:
        length: words of each.
        sum: what was uploaded.
        boxes: silo -> its sealed seed.
    """

    length: int
    sum: RunningSum = field(default_factory=RunningSum)
    boxes: dict[str, SeedBox] = field(default_factory=dict)


class SplitSum(Collector):
    """Adds uploads as they arrive, then takes the auditor's sum of masks off.

    Args:
        terms: what the silos and the auditor were offered.
        auditor: its name.
    """

    MOVES = SPLIT
    FAILED = SplitState.FAILED
    MODE = "secure aggregation"

    def __init__(self, terms: AggregationTerms, auditor: str) -> None:
        super().__init__(terms)
        self._auditor = auditor
        self._key: AuditorKey | None = None
        self._by_length: dict[int, _Uploads] = {}
        self._sum = RunningSum()
        self._request = MaskRequest(b"", 0, ())
        self._masks: MaskSum | None = None

    @property
    def _context(self) -> bytes:
        return self._request.context

    def close_opening(self) -> AuditorKey:
        """End of phase 0: the auditor's key.

        Raises:
            QuorumLostError: the auditor did not answer.
        """
        after = self._close(SplitState.AWAITING_KEY)
        if self._key is None:
            raise self._without_auditor(Phase.OPEN_AUDIT)
        self._state = after
        return self._key

    def close_uploads(self) -> MaskRequest:
        """End of phase 1: whose masks the auditor is asked for.

        Raises:
            QuorumLostError: fewer than the quorum are left.
        """
        after = self._close(SplitState.COLLECTING_INPUTS)
        chosen = self._most_common()
        self._lose_all_but(chosen)
        fewest = fewest_inputs(self.terms)
        self._require_quorum(chosen.boxes, Phase.SPLIT_INPUT, fewest)
        self._state = after
        self._sum = chosen.sum
        boxes = tuple(chosen.boxes[silo] for silo in self.commitments)
        context = self._context_of(chosen.length)
        self._request = MaskRequest(context, chosen.length, boxes)
        return self._request

    def unmask(self) -> NDArray[np.signedinteger]:
        """End of phase 2: the signed sum [d] of the inputs.

        Raises:
            QuorumLostError: the auditor did not answer.
        """
        after = self._close(SplitState.AWAITING_MASKS)
        if self._masks is None:
            raise self._without_auditor(Phase.SUM_MASKS)
        total = self._sum.take()
        np.subtract(total, self._masks.words, out=total)
        self._state = after
        return signed(total)

    def _take(self, message: SplitMessage) -> None:
        match message:
            case AuditorKey():
                self._take_key(message)
            case SplitInput():
                self._take_input(message)
            case MaskSum():
                self._take_masks(message)

    def _take_key(self, message: AuditorKey) -> None:
        self._require_auditor(message.silo)
        genuine = auditor_is_genuine(self.terms, message)
        self._require(genuine, message.silo, "its key is not signed")
        self._key = message

    def _take_input(self, message: SplitInput) -> None:
        silo, words = message.silo, message.words
        self._require(silo in self.terms.members, silo, "it is no member")
        self._require(silo not in self._uploads, silo, "its input is here already")
        self._require(message.box.silo == silo, silo, "its box is another silo's")
        self._require_words(silo, words)
        context = self._context_of(words.size)
        self._require(message.context == context, silo, "it belongs to other terms")
        commitment = upload_commitment(context, silo, message.salt, words)
        same = commitment == message.box.commitment
        self._require(same, silo, "the words changed on their way")
        self._require(
            box_is_signed(context, message.box), silo, "its box is not signed"
        )
        alike = self._by_length.setdefault(words.size, _Uploads(words.size))
        alike.sum.add(words)
        alike.boxes[silo] = message.box
        self._uploads[silo] = commitment

    def _take_masks(self, message: MaskSum) -> None:
        silo = message.silo
        self._require_auditor(silo)
        self._require_context(message)
        self._require_words(silo, message.words)
        length = self._request.length
        self._require(message.words.size == length, silo, "it has another length")
        text = mask_sum_text(self._request, message.words)
        assert self._key is not None
        genuine = is_signed(self._key.identity, message.signature, text)
        self._require(genuine, silo, "its sum is not signed")
        self._masks = message

    def _most_common(self) -> _Uploads:
        """Uploads of the most common length; of equals, those with the first seat."""
        return min(
            self._by_length.values(),
            key=lambda alike: (
                -len(alike.boxes),
                min(map(self.terms.seat, alike.boxes)),
            ),
            default=_Uploads(0),
        )

    def _lose_all_but(self, chosen: _Uploads) -> None:
        for alike in self._by_length.values():
            for silo in () if alike is chosen else alike.boxes:
                sentence = (
                    f"silo {silo} sent {alike.length} words where "
                    f"{len(chosen.boxes)} silos sent {chosen.length}"
                )
                self.lose(SiloFailure(silo, ProtocolError.reason, sentence))
                del self._uploads[silo]
        self._by_length = {}

    def _context_of(self, length: int) -> bytes:
        assert self._key is not None
        return split_context(self.terms, length, self._key)

    def _require_auditor(self, silo: str) -> None:
        self._require(silo == self._auditor, silo, "it is not the auditor")

    def _require_words(self, silo: str, words: NDArray[np.unsignedinteger]) -> None:
        ring = self.terms.kind.ring_bits
        self._require(
            words.itemsize * 8 == ring, silo, f"its words have not {ring} bits"
        )

    def _without_auditor(self, phase: Phase) -> QuorumLostError:
        failure = self.failures.get(self._auditor)
        why = f": {failure.sentence}" if failure else ""
        return QuorumLostError(
            f"secure aggregation of {self.terms.purpose} in round "
            f"{self.terms.round_number} stopped at {phase}: the auditor gave no answer"
            f"{why}; start the round again when it can; nothing was opened"
        )

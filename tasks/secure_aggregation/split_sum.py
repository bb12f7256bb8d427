"""The coordinator's side of the mode with two aggregators (TWO_AGGREGATORS.md, 2)."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import QuorumLostError
from data_contracts.secure_aggregation import AggregationTerms, Phase
from data_contracts.two_aggregators import (
    AuditorKey,
    MaskRequest,
    MaskSum,
    SeedBox,
    SplitInput,
)
from models.fixed_point import signed
from tasks.secure_aggregation.auditor import fewest_inputs
from tasks.secure_aggregation.collector import Collector
from tasks.secure_aggregation.context import words_sha256
from tasks.secure_aggregation.running_sum import RunningSum
from tasks.secure_aggregation.seed_boxes import box_is_signed, split_context
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
        self._length: int | None = None
        self._sum = RunningSum()
        self._boxes: dict[str, SeedBox] = {}
        self._masks: MaskSum | None = None

    @property
    def _context(self) -> bytes:
        assert self._length is not None
        return split_context(self.terms, self._length)

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
        fewest = fewest_inputs(self.terms)
        self._require_quorum(self._boxes, Phase.SPLIT_INPUT, fewest)
        assert self._length is not None
        self._state = after
        boxes = tuple(self._boxes[silo] for silo in self.commitments)
        return MaskRequest(self._context, self._length, boxes)

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
                self._require_auditor(message.silo)
                self._key = message
            case SplitInput():
                self._take_input(message)
            case MaskSum():
                self._take_masks(message)

    def _take_input(self, message: SplitInput) -> None:
        silo, size = message.silo, message.words.size
        self._require(silo in self.terms.members, silo, "it is no member")
        self._require(silo not in self._boxes, silo, "its input is here already")
        self._require(message.box.silo == silo, silo, "its box is another silo's")
        self._require_words(silo, message.words)
        length = size if self._length is None else self._length
        self._require(
            size == length, silo, f"it holds {size} words where others hold {length}"
        )
        context = split_context(self.terms, size)
        self._require(message.context == context, silo, "it belongs to other terms")
        same = words_sha256(message.words) == message.box.sha256
        self._require(same, silo, "the words changed on their way")
        self._require(
            box_is_signed(context, message.box), silo, "its box is not signed"
        )
        self._length = length
        self._sum.add(message.words)
        self._boxes[silo] = message.box
        self._uploads[silo] = message.box.sha256

    def _take_masks(self, message: MaskSum) -> None:
        silo = message.silo
        self._require_auditor(silo)
        self._require_context(message)
        self._require_words(silo, message.words)
        self._require(message.words.size == self._length, silo, "it has another length")
        self._masks = message

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

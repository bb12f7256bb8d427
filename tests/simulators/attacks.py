"""One silo that poisons its updates: meddlers to stand before its steps.

Two kinds of attacker. One runs the published code on bad data or with bad training, so
whatever that code does to an update (norm bound, refusal of NaN) still happens. The
other runs code of its own and sends whatever words it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np

from data_contracts.votes import VoteCount
from data_contracts.workspace import Contribution, SiloStep, SiloWorkspace
from models.fixed_point import encode_counts, limit_for, signed
from models.sequences import SequenceData
from models.vocabulary import Vocabulary
from models.weighted_mean import UpdateEncoding
from tasks.local_training import silo_side

Attack = Callable[..., Any]
"""(step, workspace, *args) -> reply."""


@dataclass(frozen=True)
class Infiltrated:
    """A meddler for the in-process cohort: one silo attacks in one step.

    Attributes:
        silo: the attacker.
        step: name of the step that it does in its own way.
        attack: how.
    """

    silo: str
    step: str
    attack: Attack

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        if (workspace.silo, step.__name__) == (self.silo, self.step):
            return self.attack(step, workspace, *args)
        return step(workspace, *args)


@dataclass(frozen=True)
class LyingCode:
    """Own code: the weighted update times a factor, up to the edge of the ring."""

    factor: float

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        receipt = step(workspace, *args)
        honest, encoding = workspace.get(Contribution), args[1].encoding
        words = multiplied(honest.words, self.factor, encoding)
        workspace.put(replace(honest, words=words))
        return receipt


@dataclass(frozen=True)
class BadTraining:
    """Published code around bad training: the trained model lies elsewhere."""

    factor: float

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        read, start = silo_side.read_vector, args[0]
        with patch.object(
            silo_side,
            "read_vector",
            lambda module: start + np.float32(self.factor) * (read(module) - start),
        ):
            return step(workspace, *args)


@dataclass(frozen=True)
class FromRound:
    """Honest training before this round, the attack from then on."""

    round_number: int
    attack: Attack

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        if args[1].round_number < self.round_number:
            return step(workspace, *args)
        return self.attack(step, workspace, *args)


def flip_labels(step: SiloStep[Any], workspace: SiloWorkspace, *args: Any) -> Any:
    """Published code on forged data: every item stands for its opposite."""
    honest = workspace.get(SequenceData)
    last = workspace.get(Vocabulary).size - 1
    workspace.put(replace(honest, items=(last - honest.items).astype(np.int32)))
    try:
        return step(workspace, *args)
    finally:
        workspace.put(honest)


@dataclass(frozen=True)
class StuffedBallot:
    """Own code: so many votes against the candidate, and as many cast."""

    votes: int

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        step(workspace, *args)
        question = args[2]
        words = np.array([self.votes, 1])
        workspace.put(Contribution(encode_counts(words, question.num_silos)))
        shown = question.evaluation.per_silo_metrics
        return VoteCount(self.votes, 1) if shown else None


def multiplied(
    words: np.ndarray, factor: float, encoding: UpdateEncoding
) -> np.ndarray:
    """The same contribution with the update, not the weight or the loss, multiplied."""
    limit, lie = limit_for(encoding.num_silos, encoding.ring_bits), words.copy()
    update = signed(lie[: encoding.size])
    update[:] = np.clip(np.rint(update * factor), -limit, limit)
    return lie

"""Canaries: users made up to be looked for in a trained model.

A *data canary* is a user with a random history that ends in an item reserved for it
alone. A *Dirac canary* is a coordinate beside the model with a user whose gradient
touches nothing else (`models/privacy/audited_trainer.py`); in high dimension its noise
is what an optimal attacker faces (Andrew et al. 2023, arXiv 2302.03098).

Every canary joins by its own fair coin. All scores are functions of the canaries and
of the models before and after, never of the coins.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from models.parameters import Vector, write_vector
from models.privacy.audit_bounds import Coins, Scores
from models.privacy.audited_trainer import DiracBlock
from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import HELD_OUT_NOTHING, SequenceData


def fair_coins(count: int) -> Coins:
    """Independent fair coins of the operating system, bool [count]."""
    bits = np.unpackbits(np.frombuffer(os.urandom(-(-count // 8)), np.uint8))
    return bits[:count].astype(bool)


@dataclass(frozen=True)
class DataCanaries:
    """Made-up users with an item of their own each.

    Attributes:
        histories: int32 [m, L], random items of the catalogue.
        targets: int32 [m], reserved items; nobody else ever has them.
        joined: bool [m].
    """

    histories: NDArray[np.int32]
    targets: NDArray[np.int32]
    joined: Coins

    @classmethod
    def drawn(
        cls, count: int, length: int, num_items: int, draws: np.random.Generator
    ) -> DataCanaries:
        """Random histories over items 0..num_items - 1, and fresh coins.

        The reserved items are num_items..num_items + count - 1.
        """
        return cls(
            draws.integers(num_items, size=(count, length), dtype=np.int32),
            np.arange(num_items, num_items + count, dtype=np.int32),
            fair_coins(count),
        )

    def among(self, users: SequenceData) -> SequenceData:
        """The users and the canaries that joined."""
        rows = np.concatenate([self.histories, self.targets[:, None]], axis=1)
        rows = rows[self.joined]
        lengths = np.full(len(rows), rows.shape[1], np.int64)
        ends = users.offsets[-1] + np.cumsum(lengths)
        none = np.full(len(rows), HELD_OUT_NOTHING, np.int64)
        return SequenceData(
            items=np.concatenate([users.items, rows.ravel()]),
            offsets=np.concatenate([users.offsets, ends]),
            train_end=np.concatenate([users.train_end, lengths]),
            validation=np.concatenate([users.validation, none]),
            test=np.concatenate([users.test, none]),
        )


def dirac_block(joined: Coins) -> DiracBlock:
    """A coordinate for every coin, and a user for every one that came up heads."""
    return DiracBlock(len(joined), torch.from_numpy(np.flatnonzero(joined)))


def dirac_scores(block: DiracBlock) -> Scores:
    """How far descent moved each coordinate, float64 [m]."""
    return -block.coordinates.detach().double().numpy()


def loss_scores(
    module: SequenceRecommender, before: Vector, after: Vector, canaries: DataCanaries
) -> Scores:
    """How much the loss on each canary's item fell, in nats, float64 [m].

    The first model's loss is subtracted: without that, what some histories are easier
    to predict than others hides what was learned.
    """
    targets = torch.from_numpy(canaries.targets.astype(np.int64))

    def losses(vector: Vector) -> Tensor:
        logits = _hidden(module, vector, canaries) @ module.items.weight.T
        return F.cross_entropy(logits, targets, reduction="none").double()

    with torch.no_grad():
        return np.asarray((losses(before) - losses(after)).numpy())


def row_scores(
    module: SequenceRecommender, before: Vector, after: Vector, canaries: DataCanaries
) -> Scores:
    """How far each reserved item's row moved towards its history, float64 [m].

    Needs the models, not only their answers. The direction is the trained model's
    hidden state after the history, as the body learns beside the rows. What all
    reserved rows did is subtracted: each is pushed away from other users' states,
    whether its canary joined or not.
    """
    targets = torch.from_numpy(canaries.targets.astype(np.int64))
    with torch.no_grad():
        write_vector(module, before)
        rows = module.items.weight[targets].clone()
        hidden = _hidden(module, after, canaries)
        moved = module.items.weight[targets] - rows
        own = (moved - moved.mean(0)) * F.normalize(hidden, dim=1)
        return np.asarray(own.sum(1).double().numpy())


def _hidden(
    module: SequenceRecommender, vector: Vector, canaries: DataCanaries
) -> Tensor:
    """States after the canaries' histories, [m, D]; leaves `vector` in the module."""
    write_vector(module, vector)
    module.eval()
    histories = torch.from_numpy(canaries.histories.astype(np.int64))
    return module.encode(histories)[:, -1]

"""The local training loop: plain PyTorch over one silo's histories.

A pure function of its arguments: the same model, data, rate and seed give the same
bits on the same hardware, so a retried or replayed round is the same round.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.errors import NotFiniteError
from data_contracts.settings.training import LocalTrainingConfig
from models.losses import full_cross_entropy, sampled_cross_entropy
from models.proximal import ProximalTerm
from models.recommenders.sequence_recommender import SequenceRecommender
from models.scored_items import ScoredItems
from models.sequences import SequenceData, right_padded

Optimizer = torch.optim.Optimizer
OnProgress = Callable[[float], None]

BETAS = (0.9, 0.98)


class Correction(Protocol):
    """Something that changes the gradients of every step, once they are clipped."""

    def add_gradient(self) -> None:
        """Change the gradients that are there."""


def make_optimizer(
    module: SequenceRecommender, config: LocalTrainingConfig, learning_rate: float
) -> Optimizer:
    """A fresh local optimiser over all parameters."""
    parameters, decay = list(module.parameters()), config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, learning_rate, weight_decay=decay)
    adam = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return adam(parameters, learning_rate, BETAS, weight_decay=decay, fused=True)


def train(
    module: SequenceRecommender,
    data: SequenceData,
    config: LocalTrainingConfig,
    *,
    context: int,
    learning_rate: float,
    seed: int,
    scored: ScoredItems | None = None,
    on_progress: OnProgress = lambda fraction: None,
    corrections: Sequence[Correction] = (),
) -> float:
    """Train `module` in place for `config.epochs` passes, or until it has to stop.

    Args:
        module: parameters set to the global model; moved to no other device.
        data: the silo's sequences; only training items are read.
        config: the local recipe.
        context: items of a history that a pass reads.
        learning_rate: of this round.
        seed: of data order, windows and dropout.
        scored: the items that compete in the loss; None: all.
        on_progress: called with the fraction done.
        corrections: of every step's gradients, in this order.

    Returns:
        Mean loss per batch of the last pass begun, in nats; 0 without passes.

    Raises:
        NotFiniteError: the loss became NaN or infinite.
    """
    device = module.items.weight.device
    optimizer = make_optimizer(module, config, learning_rate)
    if strength := config.proximal_strength:
        corrections = (*corrections, ProximalTerm(module, strength))
    order, limit = np.random.default_rng(seed), Limit(config)
    losses: list[float] = []
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for begun, done, batch in passes(data, config, context, order):
            if limit.reached():
                break
            if begun:
                losses = []
            batch = batch.to(device)
            losses.append(step(module, optimizer, batch, config, scored, corrections))
            on_progress(limit.fraction_after_step(done))
    return float(np.mean(losses)) if losses else 0.0


class Limit:
    """What a silo may train in a round: so many steps, so many seconds, or all of it.

    Args:
        config: `max_steps` and `max_seconds`.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        config: LocalTrainingConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = config.max_steps, config.max_seconds
        self._clock, self._began, self._steps = clock, clock(), 0

    def reached(self) -> bool:
        """Whether no further step may begin; the first one always may."""
        return self._steps > 0 and self._fraction() >= 1

    def fraction_after_step(self, done: float) -> float:
        """Count a step; the fraction done, where `done` is that of all passes."""
        self._steps += 1
        return min(1.0, max(done, self._fraction()))

    def _fraction(self) -> float:
        used = self._steps, self._clock() - self._began
        parts = zip(used, self._most, strict=True)
        return max((now / most for now, most in parts if most is not None), default=0.0)


def step(
    module: SequenceRecommender,
    optimizer: Optimizer,
    batch: Tensor,
    config: LocalTrainingConfig,
    scored: ScoredItems | None = None,
    corrections: Sequence[Correction] = (),
) -> float:
    """One optimiser step along a batch [B, L + 1]; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = add_gradients(module, batch, config, scored)
    if not np.isfinite(loss):
        raise NotFiniteError(
            "the training loss is not a finite number; lower "
            "local_training.learning_rate or check the data"
        )
    follow_gradients(module, optimizer, config.clip_norm, corrections)
    return loss


def follow_gradients(
    module: nn.Module,
    optimizer: Optimizer,
    clip_norm: float,
    corrections: Sequence[Correction] = (),
) -> None:
    """Step along the gradients that are there.

    `corrections` change them when they are clipped: a clip bounds what the data say.
    """
    torch.nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
    for correction in corrections:
        correction.add_gradient()
    optimizer.step()


def add_gradients(
    module: SequenceRecommender,
    batch: Tensor,
    config: LocalTrainingConfig,
    scored: ScoredItems | None = None,
) -> float:
    """Add the gradient of the mean loss of `batch` [B, L + 1]; returns the loss.

    A piece of `config.users_at_once` users weighs its share of the batch's targets.
    """
    module.recompute = config.recompute_activations
    targets = int((batch[:, 1:] >= 0).sum())
    mean = 0.0
    for piece in torch.split(batch, config.users_at_once or len(batch)):
        share = int((piece[:, 1:] >= 0).sum()) / targets
        with autocast(config, batch.device):
            loss = share * batch_loss(module, piece, config, scored)
        torch.autograd.backward(loss)
        mean += float(loss.detach())
    return mean


def passes(
    data: SequenceData,
    config: LocalTrainingConfig,
    context: int,
    order: np.random.Generator,
) -> Iterator[tuple[bool, float, Tensor]]:
    """All passes: (is it the first batch of one, fraction of all done, the batch)."""
    for epoch in range(config.epochs):
        for number, (done, batch) in enumerate(batches(data, config, context, order)):
            yield number == 0, (epoch + done) / config.epochs, batch


def batches(
    data: SequenceData,
    config: LocalTrainingConfig,
    context: int,
    order: np.random.Generator,
) -> Iterator[tuple[float, Tensor]]:
    """One pass in random order: (fraction done, padded items int64 [B, L + 1]).

    Padding is -1; users with a single training item have nothing to predict.
    """
    users = np.flatnonzero(data.train_end >= 2)
    order.shuffle(users)
    waiting: list[NDArray[np.int32]] = []
    for done, user in enumerate(users.tolist(), start=1):
        waiting += windows(data.training_history(user), context, config, order)
        while len(waiting) >= config.batch_size or (waiting and done == len(users)):
            chosen = waiting[: config.batch_size]
            waiting = waiting[config.batch_size :]
            items, lengths = right_padded(chosen)
            items[np.arange(items.shape[1]) >= lengths[:, None]] = -1
            yield done / len(users), torch.from_numpy(items)


def steps_in_round(
    data: SequenceData, config: LocalTrainingConfig, context: int
) -> int:
    """Steps of a round, on average over where stretches begin."""
    lengths = data.train_end[data.train_end >= 2]
    stretches = float(len(lengths))
    if config.windows == "all":
        stretches += (lengths[lengths > context + 1] - 2).sum() / context
    steps = config.epochs * math.ceil(stretches / config.batch_size)
    return min(steps, config.max_steps or steps)


def windows(
    history: NDArray[np.int32],
    context: int,
    config: LocalTrainingConfig,
    order: np.random.Generator,
) -> list[NDArray[np.int32]]:
    """What a pass reads of a history: stretches of `context` items and a target more.

    Those of `all` overlap by one item, so that each item but the first is a target
    once; where they begin is drawn anew in each pass.
    """
    spare = len(history) - (context + 1)
    if spare <= 0:
        return [history]
    if config.windows == "all":
        first = -int(order.integers(context))
        starts = range(first, len(history) - 1, context)
        return [history[max(0, s) : s + context + 1] for s in starts]
    start = int(order.integers(spare + 1)) if config.windows == "random" else spare
    return [history[start : start + context + 1]]


def batch_loss(
    module: SequenceRecommender,
    items: Tensor,
    config: LocalTrainingConfig,
    scored: ScoredItems | None = None,
) -> Tensor:
    """Next-item cross entropy over all real positions of items [B, L + 1].

    Args:
        module: the model.
        items: histories, padded with -1.
        config: `loss` and `precision`.
        scored: the items that compete; None: all.
    """
    inputs, targets = items[:, :-1], items[:, 1:]
    real = targets >= 0
    hidden = module.encode(inputs.clamp(min=0))[real]  # [N, D]
    hidden, table, targets = hidden.float(), module.items.weight, targets[real]
    if module.item_bias is not None:  # one more coordinate, which is always 1
        hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)
        table = torch.cat([table, module.item_bias[:, None]], dim=1)
    if scored is not None:
        table, targets = scored.among(table, targets)
    if config.loss == "sampled" and config.negatives < len(table):
        drawn = torch.randperm(len(table), device=table.device)[: config.negatives]
        return sampled_cross_entropy(hidden, table, targets, drawn)
    product = product_dtype(config, table.device)
    return full_cross_entropy(hidden, table, targets, product)


def product_dtype(config: LocalTrainingConfig, device: torch.device) -> torch.dtype:
    """Dtype of the catalogue-wide products; see `LocalTrainingConfig.precision`."""
    if config.precision != "auto":
        return torch.float32 if config.precision == "float32" else torch.bfloat16
    native = (
        torch.cuda.is_bf16_supported()
        if device.type == "cuda"
        else torch.cpu._is_avx512_bf16_supported()
    )
    return torch.bfloat16 if native else torch.float32


def autocast(
    config: LocalTrainingConfig, device: torch.device
) -> AbstractContextManager[object]:
    """Mixed precision for the whole model, on GPUs only: on CPUs it is slower."""
    if device.type != "cuda" or product_dtype(config, device) is torch.float32:
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16)


def training_seed(seed: int, silo: str, round_number: int) -> int:
    """A seed of its own for every silo and round; public, protects nothing."""
    text = f"silorec/training-seed/{seed}/{round_number}/{silo}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

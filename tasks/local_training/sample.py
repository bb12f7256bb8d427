"""A few batches of a round, to learn what the whole round would take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from data_contracts.preflight import TrainingSample, coarse
from data_contracts.workspace import Contribution, SiloWorkspace
from models.control_variates import DriftCorrection
from models.parameters import Vector, read_vector, vector_hash, write_vector
from models.recommenders.sequence_recommender import SequenceRecommender
from models.recommenders.warm import warm_recommender
from models.scored_items import ScoredItems
from models.sequences import SequenceData
from models.weighted_mean import shortened
from tasks.local_training.choice_of_people import scored_items
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.trainer import (
    batches,
    make_optimizer,
    step,
    steps_in_round,
    training_seed,
)

SAMPLE_BATCHES = 64
SAMPLE_SECONDS = 3.0
"""No further batch is begun after so long, but for the first, which warms up."""


def train_sample(
    workspace: SiloWorkspace, sent: Vector, job: RoundJob
) -> TrainingSample:
    """Train a few batches, and shelve their update for a secure sum.

    The update is encoded as a round's is; nothing of it is kept or committed to.

    Args:
        workspace: of the silo.
        sent: the vector of a `RoundStart`.
        job: the recipe of a round.

    Raises:
        NotFiniteError: loss or update is NaN or infinite; nothing is shelved.
    """
    data, module = workspace.get(SequenceData), warm_recommender(workspace, job.model)
    global_model, shared = job.received(sent)
    write_vector(module, global_model)
    drift = DriftCorrection(module, shared, None) if shared is not None else None
    losses, seconds = _timed_batches(
        module,
        data,
        job,
        training_seed(job.training.seed, workspace.silo, 0),
        scored_items(workspace, job.training, module.items.weight.device),
        drift,
    )
    began = time.monotonic()
    model_delta = read_vector(module)
    model_delta -= global_model
    update = shortened(model_delta, job.training.max_update_norm)
    encoded = job.encoding.encode(
        np.concatenate([update, drift.mean_gradient()]) if drift else update,
        job.weight_of(data),
        float(np.mean(losses)) if losses else 0.0,
        dither=np.random.default_rng().random,
    )
    kind = job.input_kind(vector_hash(sent))
    workspace.put(Contribution(encoded.words, kind))
    encoding_seconds = time.monotonic() - began
    pace = float(np.mean(seconds[1:] or seconds)) if seconds else 0.0
    in_a_round = steps_in_round(data, job.training, job.model.context)
    return TrainingSample(
        seconds_per_batch=coarse(pace),
        round_seconds=coarse(in_a_round * pace + encoding_seconds),
        warm_up_seconds=coarse(max(0.0, seconds[0] - pace) if seconds else 0.0),
    )


def _timed_batches(
    module: SequenceRecommender,
    data: SequenceData,
    job: RoundJob,
    seed: int,
    scored: ScoredItems | None,
    drift: DriftCorrection | None = None,
) -> tuple[list[float], list[float]]:
    """(loss, seconds) of each batch; making it is part of its time."""
    device = module.items.weight.device
    optimizer = make_optimizer(module, job.training, job.learning_rate)
    corrections = (drift,) if drift else ()
    losses: list[float] = []
    seconds: list[float] = []
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        began = time.monotonic()
        for batch in islice(_endless(data, job, seed), SAMPLE_BATCHES + 1):
            batch = batch.to(device)
            losses.append(
                step(module, optimizer, batch, job.training, scored, corrections)
            )
            seconds.append(time.monotonic() - began - sum(seconds))
            if sum(seconds[1:]) > SAMPLE_SECONDS:
                break
    return losses, seconds


def _endless(data: SequenceData, job: RoundJob, seed: int) -> Iterator[Tensor]:
    """Batches of pass after pass; none, if no pass has any or none is wanted."""
    order = np.random.default_rng(seed)
    trainable = job.training.epochs and bool((data.train_end >= 2).any())
    while trainable:
        for _, batch in batches(data, job.training, job.model.context, order):
            yield batch

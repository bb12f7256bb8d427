"""Private training inside a silo: only what was charged, and each round once.

What leaves is a noised model update, or a share of a noised sum: nothing of losses,
norms, times or numbers of users.
"""

from __future__ import annotations

import os

import numpy as np

from data_contracts.code_identity import code_hash
from data_contracts.errors import PrivacyBudgetError
from data_contracts.private_release import charged_plan
from data_contracts.round_outcome import TrainingReceipt
from data_contracts.workspace import Contribution, SiloWorkspace
from models.parameters import Vector, read_vector, vector_hash, write_vector
from models.privacy.joint_noise import ClippedSum
from models.recommenders.warm import warm_recommender
from models.sequences import SequenceData
from tasks.local_training.commitments import commit_to
from tasks.local_training.kept_updates import (
    KeptUpdate,
    keep_update,
    kept_update,
    last_kept_round,
)
from tasks.local_training.private_jobs import JointEncoding, PrivateJob
from tasks.local_training.private_trainer import clipped_sum, train_privately

_NO_TIME = 0.0  # how long it took would tell how many users there are


def train_round_privately(
    workspace: SiloWorkspace, global_model: Vector, job: PrivateJob
) -> TrainingReceipt:
    """Train one round and shelve what goes into the secure sum.

    Asked again for a round, the silo shelves what it made then: the same round with
    fresh noise would be a second look at its users, which nobody paid for.

    Raises:
        PrivacyBudgetError: the round was not charged, or is asked for with another
            model than before.
        NotFiniteError: the update is NaN or infinite; nothing is shelved.
    """
    _require_charged(workspace, job)
    model_hash = vector_hash(global_model)
    key = job.made_of(model_hash)
    kept = kept_update(workspace.folder, workspace.run_id, job.round_number)
    if kept is None:
        _begin_round(workspace, job)
        kept = _trained(workspace, global_model, job, key)
        keep_update(workspace.folder, workspace.run_id, job.round_number, kept)
    elif kept.key != key:
        raise PrivacyBudgetError(
            f"silo {workspace.silo} has trained round {job.round_number} of this run "
            "from another model or with other settings, and trains it once only; "
            "start a new run"
        )
    fewest = job.fewest_silos if isinstance(job.encoding, JointEncoding) else 1
    kind = job.input_kind(model_hash)
    workspace.put(Contribution(kept.words, kind, fewest_silos=fewest))
    return kept.receipt


def _trained(
    workspace: SiloWorkspace, global_model: Vector, job: PrivateJob, key: str
) -> KeptUpdate:
    module = warm_recommender(workspace, job.model)
    write_vector(module, global_model)
    data = workspace.get(SequenceData)
    if isinstance(job.encoding, JointEncoding):
        clipped = clipped_sum(module, data, job.mechanism, engine=job.engine)
        shared = ClippedSum(clipped, vector_hash(global_model))
        words = job.encoding.noise.contribution(shared, os.urandom).words
    else:
        train_privately(
            module, data, job.mechanism,
            engine=job.engine, on_progress=lambda f: _tell(workspace, f),
        )  # fmt: skip
        model_delta = read_vector(module)
        model_delta -= global_model
        dither = np.random.default_rng().random
        weight, no_loss = 1.0 / job.num_silos, 0.0
        words = job.encoding.encode(model_delta, weight, no_loss, dither=dither).words
    round_key = f"{workspace.run_id}/{job.round_number}"
    commitment = commit_to(words, workspace.folder, round_key)
    receipt = TrainingReceipt(commitment, _NO_TIME, code_hash())
    return KeptUpdate(key, words, None, receipt)


def _require_charged(workspace: SiloWorkspace, job: PrivateJob) -> None:
    charged, asked = charged_plan(workspace).training, job.mechanism
    if (
        job.steps_so_far > charged.steps
        or asked.noise_multiplier < charged.noise_multiplier
        or asked.sampling_probability > charged.sampling_probability
    ):
        raise PrivacyBudgetError(
            f"silo {workspace.silo} was asked for more in round {job.round_number} "
            f"than its ledger charged: {charged.steps} steps with noise "
            f"{charged.noise_multiplier:.3g}; start a new run"
        )


def _begin_round(workspace: SiloWorkspace, job: PrivateJob) -> None:
    """Rounds are trained in order, so none is trained a second time."""
    if last_kept_round(workspace.folder, workspace.run_id) >= job.round_number:
        raise PrivacyBudgetError(
            f"silo {workspace.silo} has trained round {job.round_number} of this run "
            "or a later one, keeps no update of it, and does not train it again; start "
            "a new run"
        )


def _tell(workspace: SiloWorkspace, fraction: float) -> None:
    workspace.progress.fraction = fraction

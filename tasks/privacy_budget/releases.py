"""Noisy item counts, which the scores of a private model start from."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import PrivacyBudgetError
from data_contracts.private_release import charged_plan, released_once
from data_contracts.workspace import Contribution, SiloWorkspace
from models.privacy.joint_noise import JointNoise
from models.privacy.randomness import gaussian_noise
from models.sequences import SequenceData
from models.vocabulary import Vocabulary

Floats = NDArray[np.float64]


def release_popularity(workspace: SiloWorkspace) -> Floats | None:
    """How popular items are with this silo's people, float64 [V], with noise.

    None: no popularity was charged.

    Raises:
        PrivacyBudgetError: nothing was charged at all.
    """
    noise = charged_plan(workspace).popularity
    if noise is None:
        return None

    def counted() -> Floats:
        data, size = workspace.get(SequenceData), workspace.get(Vocabulary).size
        return spread_counts(data, size) + gaussian_noise(size, noise)

    return released_once(workspace, "popularity", counted)


def share_popularity(workspace: SiloWorkspace, noise: JointNoise) -> None:
    """Shelve the same counts with this silo's share of joint noise, for a secure sum.

    Raises:
        PrivacyBudgetError: the noise is less than was charged, or was shared before by
            another plan.
    """
    charged = charged_plan(workspace).popularity
    if charged is None or noise.noise_multiplier < charged or noise.clip_norm < 1.0:
        raise PrivacyBudgetError(
            f"silo {workspace.silo} was asked for item counts with less noise than its "
            "ledger charged; start a new run"
        )
    data, vocabulary = workspace.get(SequenceData), workspace.get(Vocabulary)
    words = released_once(
        workspace,
        "popularity",
        lambda: noise.share(spread_counts(data, vocabulary.size), os.urandom),
        plan=noise.fingerprint,
    )
    kind = noise.kind(vocabulary.sha256)
    workspace.put(Contribution(words, kind, fewest_silos=noise.silos_at_least))


def start_from(workspace: SiloWorkspace, vocabulary: Vocabulary) -> None:
    """From now on, this silo's models are over this vocabulary and its bias."""
    workspace.put(vocabulary)


def spread_counts(data: SequenceData, size: int) -> Floats:
    """Sum over users of their different training items, each user of L2 norm 1.

    One person more or less changes it by 1 in L2 norm.
    """
    counts = np.zeros(size)
    for user in range(data.num_users):
        items = np.unique(data.training_history(user))
        if items.size:
            counts[items] += items.size**-0.5
    return counts

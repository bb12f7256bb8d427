"""Test metrics under differential privacy: with noise, or not told at all."""

from __future__ import annotations

import json
import math
import os

import numpy as np
from numpy.typing import NDArray

from data_contracts.private_release import charged_plan, released_once
from data_contracts.workspace import SiloWorkspace
from models.parameters import Vector
from models.privacy.randomness import gaussian_noise
from models.ranking_metrics import MetricSums
from tasks.evaluation.silo_side import Answer, Question, ranking_of

OWN_METRICS = "own_metrics.jsonl"
# Users, hits, gains and reciprocal ranks: each person adds at most 1 to each of them.
BOUNDED_SUMS = 4
SENSITIVITY = math.sqrt(BOUNDED_SUMS)


def release_metrics(
    workspace: SiloWorkspace, model: Vector, question: Question
) -> Answer | None:
    """The silo's metric sums with noise; None: none were charged, and none are told.

    What the silo reaches exactly is noted in its own folder. Log-likelihoods have no
    bound and are left out.

    Raises:
        PrivacyBudgetError: nothing was charged at all.
    """
    noise = charged_plan(workspace).metrics
    sums = ranking_of(workspace, model, question).sums
    _note(workspace, question, sums)
    if noise is None:
        return None

    def noisy() -> NDArray[np.float64]:
        exact = np.array(sums.values()[:BOUNDED_SUMS])
        return exact + gaussian_noise(BOUNDED_SUMS, SENSITIVITY * noise)

    told = released_once(workspace, f"metrics-{question.window}", noisy)
    users, hits, gains, reciprocal_ranks = told.tolist()
    sums = MetricSums(users, hits, gains, reciprocal_ranks, math.nan)
    return Answer(sums, 0, 0)


def _note(workspace: SiloWorkspace, question: Question, sums: MetricSums) -> None:
    line = {"run_id": workspace.run_id, "window": question.window.value, **sums.means()}
    with (workspace.folder / OWN_METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())

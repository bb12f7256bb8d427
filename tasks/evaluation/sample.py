"""Ranking for some users, to learn what ranking for all of them would take."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from data_contracts.preflight import EvaluationSample, coarse
from data_contracts.workspace import SiloWorkspace
from models.full_ranking import USERS_PER_BATCH, rank_held_out
from models.parameters import Vector
from models.sequences import HELD_OUT_NOTHING, SequenceData
from tasks.evaluation.silo_side import (
    Question,
    candidates_for,
    contribution_of,
    scorer_of,
)


def evaluate_sample(
    workspace: SiloWorkspace, model: Vector, question: Question
) -> EvaluationSample:
    """Rank the held-out targets of one batch of users; shelve the metric sums.

    The sums go into a secure sum only, whatever the federation shows otherwise.
    """
    data = workspace.get(SequenceData)
    users = data.held_out_users(question.window)
    some = sampled(data, users[:USERS_PER_BATCH])
    score, stocked = (
        scorer_of(workspace, model, question),
        candidates_for(workspace, question),
    )
    began = time.monotonic()
    ranking = rank_held_out(
        score, some, question.window, stocked, question.evaluation.k
    )
    seconds = time.monotonic() - began
    workspace.put(contribution_of(ranking, question.num_silos))
    share = len(users) / max(len(users[:USERS_PER_BATCH]), 1)
    return EvaluationSample(round_seconds=coarse(seconds * share))


def sampled(data: SequenceData, users: np.ndarray) -> SequenceData:
    """The same sequences, with held-out targets of these users only."""
    kept = np.isin(np.arange(data.num_users), users)
    return replace(
        data,
        validation=np.where(kept, data.validation, HELD_OUT_NOTHING),
        test=np.where(kept, data.test, HELD_OUT_NOTHING),
    )

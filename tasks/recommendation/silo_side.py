"""The step of this room that runs inside a silo."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName
from data_contracts.preflight import coarse
from data_contracts.recommendations import (
    RecommendationJob,
    RecommendationReceipt,
    SavedModel,
)
from data_contracts.settings.cohort import ComputeConfig
from data_contracts.settings.data import ItemNames
from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloWorkspace
from models.histories import Ints, ordered_histories
from models.recommenders.top_items import Top, popular_items
from models.vocabulary import Vocabulary
from tasks.recommendation.candidates import allowed_items
from tasks.recommendation.own_model import as_the_silo_has_it
from tasks.recommendation.own_table import in_batches, write_recommendations
from tasks.recommendation.ranker import Ranker, RankerInput


def recommend(
    workspace: SiloWorkspace,
    model: SavedModel,
    job: RecommendationJob,
    item_names: ItemNames,
) -> RecommendationReceipt:
    """Write the best items for everybody into the silo's own table.

    People of whose items the model knows none get what is used most in the silo.

    Raises:
        SiloInputError: a rule's file is missing, or nothing is left to recommend.
        SiloError: the table cannot be written, or the silo's own tensors are damaged.
    """
    began, tables = time.monotonic(), workspace.get(SiloTables)
    own = as_the_silo_has_it(model, workspace.folder, item_names)
    allowed = allowed_items(workspace.silo, tables, own.items, job.rules)
    interactions = tables.tables[TableName.INTERACTIONS]
    history = ordered_histories(interactions, Vocabulary(own.items), 1)
    compute = workspace.config.compute or ComputeConfig()
    given = RankerInput(own, history, allowed, job, gpu=compute.num_gpus > 0)
    people = _everybody(tables)
    strangers = np.setdiff1d(np.arange(len(people)), history.users)
    batches = _all_batches(workspace, given, compute, people, strangers)
    path = write_recommendations(
        workspace.folder,
        model.sha256,
        job.made_at,
        pa.array(own.items, pa.string()),
        batches,
    )
    return RecommendationReceipt(
        users=int(coarse(len(people))) if job.tell_counts else None,
        without_history=int(coarse(len(strangers))) if job.tell_counts else None,
        seconds=coarse(time.monotonic() - began),
        table=str(path),
    )


def _everybody(tables: SiloTables) -> pa.Array:
    """Distinct user ids; first those with interactions, in the order of that table."""
    users = [tables.tables[TableName.INTERACTIONS][Column.USER]]
    if TableName.USERS in tables.tables:
        users.append(tables.tables[TableName.USERS][Column.USER])
    chunks = [chunk for column in users for chunk in column.chunks]
    return pc.unique(pa.chunked_array(chunks))


def _all_batches(
    workspace: SiloWorkspace,
    given: RankerInput,
    compute: ComputeConfig,
    people: pa.Array,
    strangers: Ints,
) -> Iterator[tuple[pa.Array, Top]]:
    """(user ids, their items) of everybody, people with histories first."""
    history, job = given.history, given.job
    # Histories of like length side by side: the model reads little padding.
    order = np.argsort(np.diff(history.offsets), kind="stable")
    pieces = [*in_batches(order, job.users_at_once)]
    for number, (places, top) in enumerate(
        zip(pieces, _ranked(given, pieces, compute), strict=True), start=1
    ):
        workspace.progress.fraction = number / len(pieces)
        yield people.take(pa.array(history.users[places])), top
    if len(strangers):
        yield people.take(pa.array(strangers)), _popular(given, len(strangers))


def _ranked(
    given: RankerInput, pieces: Sequence[Ints], compute: ComputeConfig
) -> Iterator[Top]:
    if given.job.shards == 1:
        return map(Ranker(given).rank, pieces)
    from tasks.recommendation.actor import ranked_by_workers

    return ranked_by_workers(given, pieces, given.job.shards, compute)


def _popular(given: RankerInput, people: int) -> Top:
    import torch

    counts = np.bincount(given.history.items, minlength=len(given.allowed))
    items, scores = popular_items(counts, torch.from_numpy(given.allowed), given.job.k)
    return np.repeat(items, people, axis=0), np.repeat(scores, people, axis=0)

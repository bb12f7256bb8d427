"""Ray workers that share a silo's people, on the silo's own nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import ray
from ray.util import ActorPool

from data_contracts.settings.cohort import ComputeConfig
from models.recommenders.top_items import Top
from tasks.recommendation.ranker import Ints, Ranker, RankerInput

RemoteRanker = ray.remote(Ranker)

ON_THE_SAME_NODES = 1e-3
"""Of a silo's own Ray resource; where it lies is where its people's data may be."""


def ranked_by_workers(
    given: RankerInput, pieces: Sequence[Ints], workers: int, compute: ComputeConfig
) -> Iterator[Top]:
    """What a `Ranker` says to each piece, in their order.

    Args:
        given: to every worker.
        pieces: places of people.
        workers: how many.
        compute: of the silo.
    """
    placed = cast(Any, RemoteRanker).options(
        # Not reserved: silos' actors may hold every core that Ray has to give.
        num_cpus=0,
        num_gpus=compute.num_gpus / workers,
        resources=dict.fromkeys(compute.custom_resources, ON_THE_SAME_NODES) or None,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": str(compute.threads)}},
    )
    shared = ray.put(given)
    rankers = [placed.remote(shared) for _ in range(workers)]
    try:
        yield from ActorPool(rankers).map(
            lambda ranker, places: ranker.rank.remote(places), list(pieces)
        )
    finally:
        for ranker in rankers:
            ray.kill(ranker)

"""The work that every framework orchestrates here, and the clock that times it.

One model, handed to each silo and taken back unchanged: no training, so all the time
from the start of one round to the start of the next is orchestration. The first two
rounds warm up and the last has no successor; none of them counts.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.recommenders.sequence_recommender import SequenceRecommender

LOG = "SILOREC_BENCHMARK_LOG"
ROUNDS = "SILOREC_BENCHMARK_ROUNDS"

SILOS = 4
CORES = 2
ITEMS, DIM, BLOCKS, HEADS = 15_000, 64, 2, 1  # 1,010,560 parameters
WARM_UP_ROUNDS = 2

State = dict[str, NDArray[np.float32]]


def rounds() -> int:
    """How many rounds to run."""
    return int(os.environ[ROUNDS])


class Recommender(SequenceRecommender):
    """The same numbers everywhere; no arguments, so NVFLARE can rebuild it by name."""

    def __init__(self) -> None:
        super().__init__(ITEMS, DIM, BLOCKS, HEADS, dropout=0.0)
        self.initialise(torch.Generator().manual_seed(0))


def state_of(module: SequenceRecommender) -> State:
    """Its parameters by name; views, not copies."""
    return {name: value.numpy() for name, value in module.state_dict().items()}


def do_round(
    module: SequenceRecommender, silo: int, number: int, state: State
) -> State:
    """What a silo does in a round: take the model over, train nothing, give it back."""
    module.load_state_dict({k: torch.as_tensor(v).clone() for k, v in state.items()})
    note_start(os.environ[LOG], silo, number)
    return state_of(module)


def note_start(log: str, silo: int | str, number: int) -> None:
    """Local training of round `number` begins at `silo`."""
    line = json.dumps({"round": number, "silo": silo, "at": time.time()}) + "\n"
    with open(log, "a", encoding="utf-8") as file:
        file.write(line)


def seconds_between_rounds(log: Path) -> list[float]:
    """From the first silo's start of a warm round to that of the next."""
    starts: dict[int, list[float]] = {}
    for line in log.read_text("utf-8").splitlines():
        note = json.loads(line)
        starts.setdefault(note["round"], []).append(note["at"])
    assert all(len(silos) == SILOS for silos in starts.values()), "a silo was missing"
    firsts = [min(starts[number]) for number in sorted(starts)]
    return np.diff(firsts)[WARM_UP_ROUNDS:].tolist()

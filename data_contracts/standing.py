"""How a run stands after some rounds: what the next ruling starts from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """How the run stands after some rounds.

    Attributes:
        best: best validation metric of an accepted model.
        best_round: the round that reached it; 0 before any.
        accepted_round: the round that made the model; 0 before any was accepted.
        cuts: how often the learning rate was cut.
        stopped: no further round is to be trained.
    """

    best: float = -1.0
    best_round: int = 0
    accepted_round: int = 0
    cuts: int = 0
    stopped: bool = False

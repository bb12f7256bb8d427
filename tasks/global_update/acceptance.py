"""Accept the candidate or keep the old model; cut the rate; stop early.

Every consequence of an evaluation is a recorded decision with its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from data_contracts.records import DecisionRecord, Verdict
from data_contracts.settings.training import ScheduleConfig


@dataclass(frozen=True)
class Standing:
    """How the run stands after some rounds.

    Attributes:
        best: best validation metric of an accepted model.
        best_round: the round that reached it; 0 before any.
        cuts: how often the learning rate was cut.
        stopped: no further round is to be trained.
    """

    best: float = -1.0
    best_round: int = 0
    cuts: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Ruling:
    """What one evaluation led to."""

    accepted: bool
    standing: Standing
    decisions: tuple[DecisionRecord, ...]


def rule_on(
    metric: float,
    standing: Standing,
    schedule: ScheduleConfig,
    *,
    run_id: str,
    round_number: int,
) -> Ruling:
    """Judge the candidate of one round by its validation metric.

    * below `best * (1 - max_regression)`, or not a number: rejected, rate cut;
    * otherwise accepted;
    * `patience` rounds without a better metric: the run stops.
    """
    decisions: list[DecisionRecord] = []

    def decide(verdict: Verdict, sentence: str) -> None:
        decisions.append(
            DecisionRecord(
                run_id=run_id,
                round_number=round_number,
                verdict=verdict.value,
                silo="",
                sentence=sentence,
            )
        )

    floor = standing.best * (1.0 - schedule.max_regression)
    accepted = metric >= min(floor, standing.best)  # NaN is never accepted
    if accepted and metric > standing.best:
        standing = replace(standing, best=metric, best_round=round_number)
    if accepted:
        decide(
            Verdict.ACCEPTED,
            f"NDCG {metric:.4f} on validation; best so far {standing.best:.4f} in "
            f"round {standing.best_round}",
        )
    else:
        standing = replace(standing, cuts=standing.cuts + 1)
        decide(
            Verdict.REJECTED,
            f"NDCG {metric:.4f} on validation is below the floor of {floor:.4f}",
        )
        decide(
            Verdict.LEARNING_RATE_CUT,
            f"following rounds train at {schedule.learning_rate_cut**standing.cuts:g} "
            "of the scheduled rate",
        )
    waited = round_number - standing.best_round
    if waited >= schedule.patience and round_number < schedule.rounds:
        standing = replace(standing, stopped=True)
        decide(
            Verdict.STOPPED_EARLY,
            f"{waited} rounds without a better NDCG than {standing.best:.4f}",
        )
    return Ruling(accepted, standing, tuple(decisions))

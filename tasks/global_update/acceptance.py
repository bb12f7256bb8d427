"""Accept the candidate or keep the old model; cut the rate; stop early.

Every consequence of an evaluation is a recorded decision with its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from data_contracts.records import DecisionRecord, Verdict
from data_contracts.settings.training import ScheduleConfig
from data_contracts.standing import Standing
from data_contracts.votes import VoteCount


@dataclass(frozen=True)
class Ruling:
    """What one evaluation led to."""

    accepted: bool
    standing: Standing
    decisions: tuple[DecisionRecord, ...]


@dataclass(frozen=True)
class Judgement:
    """Whether a candidate is accepted, whether it is the best one now, and why."""

    accepted: bool
    best: bool
    sentence: str


def by_metric(
    metric: float, standing: Standing, schedule: ScheduleConfig, round_number: int
) -> Judgement:
    """Rejected below `best * (1 - max_regression)`, or if it is not a number."""
    floor = standing.best * (1.0 - schedule.max_regression)
    if not metric >= min(floor, standing.best):  # NaN is never accepted
        sentence = f"NDCG {metric:.4f} on validation is below the floor of {floor:.4f}"
        return Judgement(False, False, sentence)
    if better := metric > standing.best:
        standing = replace(standing, best=metric, best_round=round_number)
    sentence = (
        f"NDCG {metric:.4f} on validation; best so far {standing.best:.4f} in round "
        f"{standing.best_round}"
    )
    return Judgement(True, better, sentence)


def by_votes(votes: VoteCount) -> Judgement:
    """Rejected by more than half of the votes; otherwise the best there is.

    The last model that a majority accepted counts as the best: the metric, which a
    lying silo can report as it likes, decides nothing.
    """
    sentence = (
        f"{votes.against} of {votes.cast} silos voted against it, for whom it is worse "
        "than the last accepted model"
        if votes.cast
        else "no silo cast a valid vote on it"
    )
    return Judgement(not votes.rejects, not votes.rejects, sentence)


def accept_unseen(round_number: int) -> Ruling:
    """The candidate is taken as it is: to choose by private data would be a release."""
    standing = Standing(best_round=round_number, accepted_round=round_number)
    return Ruling(True, standing, ())


def rule_on(
    metric: float,
    standing: Standing,
    schedule: ScheduleConfig,
    *,
    run_id: str,
    round_number: int,
    votes: VoteCount | None = None,
) -> Ruling:
    """Judge the candidate of one round by its validation metric, or by the votes on it.

    * rejected: the old model is kept, the rate cut;
    * `patience` rounds without a better model: the run stops.
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

    judgement = (
        by_metric(metric, standing, schedule, round_number)
        if votes is None
        else by_votes(votes)
    )
    decide(
        Verdict.ACCEPTED if judgement.accepted else Verdict.REJECTED, judgement.sentence
    )
    if judgement.best:
        standing = replace(standing, best=metric, best_round=round_number)
    if judgement.accepted:
        standing = replace(standing, accepted_round=round_number)
    else:
        standing = replace(standing, cuts=standing.cuts + 1)
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
            f"{waited} rounds without a better NDCG than {standing.best:.4f}"
            if votes is None
            else f"{waited} rounds without a model that a majority accepts",
        )
    return Ruling(judgement.accepted, standing, tuple(decisions))

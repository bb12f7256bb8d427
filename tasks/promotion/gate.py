"""The gate between a challenger and the champion's place; pure.

Both were ranked for on the same test window of the same users, each inside its silo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from data_contracts.records import (
    POOLED_SILOS,
    Decider,
    MetricRecord,
    RetrainingOutcome,
    Stage,
    Subject,
)
from data_contracts.retraining import Ruling
from data_contracts.settings.retraining import RetrainingConfig

METRIC, WINDOW = "ndcg", "test"


@dataclass(frozen=True)
class Rule:
    """One comparison and how it came out."""

    sentence: str
    holds: bool


@dataclass(frozen=True)
class Judgement:
    """What the gate says of a challenger.

    Attributes:
        rules: every comparison that could be made.
        open_question: why a person must decide; empty if the rules can.
    """

    rules: tuple[Rule, ...]
    open_question: str = ""

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return all(rule.holds for rule in self.rules)

    @property
    def sentence(self) -> str:
        """What decided: the broken rules, or else all that there is to say."""
        broken = [rule.sentence for rule in self.rules if not rule.holds]
        told = broken or [rule.sentence for rule in self.rules]
        return "; ".join([*told, *([self.open_question] if self.open_question else [])])


def judge(
    metrics: Iterable[MetricRecord], config: RetrainingConfig, *, has_champion: bool
) -> Judgement:
    """Hold a challenger against the champion and against popularity.

    Args:
        metrics: of the challenger's run, in which the champion is the model that it
            started from.
        config: how much worse it may be.
        has_champion: whether there is one.
    """
    rows = [row for row in metrics if (row.metric, row.window) == (METRIC, WINDOW)]
    challenger = _by_silo(rows, Subject.FEDERATED)
    champion = _by_silo(rows, Subject.STARTED_FROM)
    if POOLED_SILOS not in challenger:
        return Judgement((), "no metrics of the challenger leave the silos")
    rules = list(_against_popularity(challenger, rows, config))
    if not has_champion:
        rules.append(Rule("there is no champion yet to compare with", holds=True))
        return Judgement(tuple(rules))
    if POOLED_SILOS not in champion:
        told = "the champion cannot be ranked beside it (private or personal tensors)"
        return Judgement(tuple(rules), told)
    rules += _against_champion(challenger, champion, config)
    return Judgement(tuple(rules))


def _by_silo(rows: Sequence[MetricRecord], subject: Subject) -> dict[str, float]:
    """Silo -> value of this model in the last round that has one."""
    found = sorted(
        (row for row in rows if row.subject == subject),
        key=lambda row: row.round_number,
    )
    return {row.silo: row.value for row in found}


def _against_popularity(
    challenger: dict[str, float], rows: Sequence[MetricRecord], config: RetrainingConfig
) -> Iterator[Rule]:
    popularity = _by_silo(rows, Subject.POPULARITY).get(POOLED_SILOS)
    if config.beat_popularity and popularity is not None:
        own = challenger[POOLED_SILOS]
        yield Rule(
            f"NDCG {own:.4f} over all silos against {popularity:.4f} of popularity",
            holds=own > popularity,
        )


def _against_champion(
    challenger: dict[str, float], champion: dict[str, float], config: RetrainingConfig
) -> Iterator[Rule]:
    for silo, before in champion.items():
        if silo not in challenger:
            continue
        overall = silo == POOLED_SILOS
        allowed = config.max_regression if overall else config.max_silo_regression
        where = "over all silos" if overall else f"at {silo}"
        own = challenger[silo]
        yield Rule(
            f"NDCG {own:.4f} {where} against {before:.4f} of the champion "
            f"(at most {allowed:.1%} lower is allowed)",
            holds=own >= before * (1.0 - allowed),
        )


def rule_by_policy(judgement: Judgement, config: RetrainingConfig) -> Ruling:
    """What the rules alone make of a challenger."""
    told = judgement.sentence
    if not judgement.passed:
        outcome, stage = RetrainingOutcome.REFUSED_BY_GATE, Stage.REJECTED
    elif config.promotion == "approval" or judgement.open_question:
        outcome, stage = RetrainingOutcome.AWAITS_APPROVAL, Stage.CANDIDATE
    else:
        outcome, stage = RetrainingOutcome.PROMOTED, Stage.CHAMPION
    return Ruling(outcome, stage, Decider.POLICY, told)


UNCHANGED = Ruling(
    RetrainingOutcome.REFUSED_BY_GATE,
    None,
    Decider.POLICY,
    "no round made a model that is better than the champion",
)

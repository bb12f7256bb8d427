"""Metric records of one evaluation: per silo where shown, and over all users."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from data_contracts.errors import QuorumLostError
from data_contracts.records import POOLED_SILOS, MetricRecord, Subject
from models.ranking_metrics import MetricSums, total
from models.sequences import Window

WITHOUT_PROBABILITIES = frozenset({Subject.MARKOV, Subject.ITEM_KNN, Subject.EASE})


@dataclass(frozen=True)
class Evaluation:
    """What one model achieved on one window.

    Attributes:
        subject: whose model.
        window: which targets.
        per_silo: silo -> (sums, coverage); empty where the federation hides them.
        pooled: sums over the users of all silos.
        coverage: share of the vocabulary that anybody's first k held; None where it
            was not summed.
    """

    subject: Subject
    window: Window
    per_silo: Mapping[str, tuple[MetricSums, float]]
    pooled: MetricSums
    coverage: float | None = None

    @property
    def ndcg(self) -> float:
        """NDCG@k over all users: what rounds are judged by."""
        return self.pooled.means()["ndcg"]

    def require_quorum(self, min_silos: int) -> None:
        """Refuse to judge a model by the users of a few silos.

        Where silos hide their metrics, their secure sum has its own quorum.

        Raises:
            QuorumLostError: fewer than `min_silos` showed theirs.
        """
        if self.per_silo and len(self.per_silo) < min_silos:
            raise QuorumLostError(
                f"only {len(self.per_silo)} silos evaluated the {self.subject} model "
                f"on the {self.window} window and cohort.min_silos is {min_silos}; "
                "resume the run when more can answer"
            )

    def headline(self, train_loss: float) -> str:
        """The main figures of a round in one line."""
        worst = min(
            ((sums.means()["ndcg"], silo) for silo, (sums, _) in self.per_silo.items()),
            default=None,
        )
        text = f"loss {train_loss:.3f}, validation NDCG {self.ndcg:.4f}"
        return text if worst is None else f"{text} (lowest {worst[1]} {worst[0]:.4f})"

    def records(self, run_id: str, round_number: int) -> tuple[MetricRecord, ...]:
        """One row per silo (and all silos) and metric."""
        rows: list[MetricRecord] = []
        everybody = {
            **self.per_silo,
            POOLED_SILOS: (self.pooled, self.coverage),
        }
        for silo, (sums, coverage) in everybody.items():
            metrics = sums.means()
            if coverage is not None:
                metrics["coverage"] = coverage
            if self.subject in WITHOUT_PROBABILITIES:
                del metrics["nll"]  # their scores are none
            rows += [
                MetricRecord(
                    run_id=run_id,
                    round_number=round_number,
                    subject=self.subject.value,
                    silo=silo,
                    window=self.window.value,
                    metric=name,
                    value=value,
                    users=max(0, int(sums.users)),
                )
                for name, value in metrics.items()
                if math.isfinite(value)
            ]
        return tuple(rows)


def pooled_sums(per_silo: Mapping[str, tuple[MetricSums, float]]) -> MetricSums:
    """Sums over all silos that showed theirs."""
    return total(sums for sums, _ in per_silo.values())

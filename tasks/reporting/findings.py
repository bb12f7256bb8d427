"""What the records of a run say: the figures every picture and table is made of.

Charts, report, terminal and artifacts all read a `RunHistory` through these
functions, so they cannot contradict each other. Any part of a history may be
missing (a failed run, baselines switched off, metrics that silos keep to
themselves): a figure that is not there is `None`, never zero.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_contracts.records import (
    POOLED_SILOS,
    MetricRecord,
    ModelVersionRecord,
    RunHistory,
    RunStatus,
    Subject,
    Verdict,
)
from data_contracts.settings.cohort import POOLED_SILO_NAME

TEST = "test"
VALIDATION = "validation"


@dataclass(frozen=True)
class ComparisonRow:
    """One line of "what does joining bring me?": every model on the same users.

    Attributes:
        silo: the silo's name, or `POOLED_SILOS`.
        users: test users behind the figures.
        values: model -> value of the metric; models without a figure are absent.
    """

    silo: str
    users: int
    values: Mapping[Subject, float]

    @property
    def lift(self) -> float | None:
        """Relative gain of the federated model over training alone (0.1 = 10 %)."""
        alone = self.values.get(Subject.LOCAL_ONLY)
        federated = self.values.get(Subject.FEDERATED)
        if alone is None or federated is None or alone <= 0:
            return None
        return federated / alone - 1.0


def config_tree(history: RunHistory) -> dict[str, Any]:
    """The run's configuration as recorded; empty when it cannot be read.

    Read as a plain tree, so that runs of older versions can still be reported.
    """
    try:
        tree = json.loads(history.run.config_json)
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}


def setting(history: RunHistory, section: str, key: str, default: Any = None) -> Any:
    """One value of the recorded configuration."""
    return (config_tree(history).get(section) or {}).get(key, default)


def metric_title(history: RunHistory, metric: str) -> str:
    """How a metric is called in print: `ndcg` -> `NDCG@10`."""
    k = setting(history, "evaluation", "k", 10)
    titles = {
        "hr": f"HR@{k}",
        "ndcg": f"NDCG@{k}",
        "mrr": "MRR",
        "coverage": f"Coverage@{k}",
        "nll": "NLL",
    }
    return titles.get(metric, metric)


def silo_names(history: RunHistory) -> tuple[str, ...]:
    """Every silo the records mention, in alphabetical order."""
    named = {
        *(row.silo for row in history.participants),
        *(row.silo for row in history.contracts),
        *(row.silo for row in history.decisions),
        *(row.silo for row in history.metrics),
    }
    return tuple(sorted(named - {POOLED_SILOS, POOLED_SILO_NAME, ""}))


def published_model(history: RunHistory) -> ModelVersionRecord | None:
    """The model the run published; without one, the last it made."""
    return max(
        history.models, key=lambda m: (m.published, m.round_number), default=None
    )


def _published_round(history: RunHistory) -> int | None:
    model = published_model(history)
    return model.round_number if model and model.published else None


def _final_record(
    history: RunHistory, subject: Subject, silo: str, metric: str
) -> MetricRecord | None:
    """The test-window record of the published round; without one, the latest."""
    published = _published_round(history)
    rows = [
        row
        for row in history.metrics
        if (row.subject, row.silo, row.metric, row.window)
        == (subject, silo, metric, TEST)
    ]
    return max(
        rows,
        key=lambda row: (row.round_number == published, row.round_number),
        default=None,
    )


def final_value(
    history: RunHistory, subject: Subject, silo: str, metric: str = "ndcg"
) -> float | None:
    """A metric on the test window; `None` when absent or not finite."""
    row = _final_record(history, subject, silo, metric)
    return row.value if row and math.isfinite(row.value) else None


def comparison_row(
    history: RunHistory, silo: str, metric: str = "ndcg"
) -> ComparisonRow:
    """Every model's test figure for the users of one silo (or all)."""
    values: dict[Subject, float] = {}
    users = 0
    for subject in Subject:
        row = _final_record(history, subject, silo, metric)
        if row and math.isfinite(row.value):
            values[subject] = row.value
            users = max(users, row.users)
    return ComparisonRow(silo, users, values)


def comparison(history: RunHistory, metric: str = "ndcg") -> tuple[ComparisonRow, ...]:
    """All silos first, then each silo; lines without any figure are left out."""
    rows = (
        comparison_row(history, silo, metric)
        for silo in (POOLED_SILOS, *silo_names(history))
    )
    return tuple(row for row in rows if row.values)


def compared_subjects(rows: tuple[ComparisonRow, ...]) -> tuple[Subject, ...]:
    """The models that have at least one figure, in their usual order."""
    return tuple(s for s in Subject if any(s in row.values for row in rows))


def validation_curves(
    history: RunHistory, metric: str = "ndcg"
) -> dict[str, list[tuple[int, float]]]:
    """Silo (or all silos) -> (round, federated value) on the validation window."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in sorted(history.metrics, key=lambda row: (row.silo, row.round_number)):
        wanted = (Subject.FEDERATED, VALIDATION, metric)
        if (row.subject, row.window, row.metric) == wanted:
            curves.setdefault(row.silo, []).append((row.round_number, row.value))
    return curves


def losers(history: RunHistory) -> tuple[ComparisonRow, ...]:
    """Silos whose own model serves them better than the shared one."""
    return tuple(
        row
        for row in comparison(history)
        if row.silo != POOLED_SILOS and row.lift is not None and row.lift < 0
    )


def worst_served(history: RunHistory) -> ComparisonRow | None:
    """The silo with the lowest federated figure."""
    rows = [
        row
        for row in comparison(history)
        if row.silo != POOLED_SILOS and Subject.FEDERATED in row.values
    ]
    return min(rows, key=lambda row: row.values[Subject.FEDERATED], default=None)


def quarantined(history: RunHistory) -> dict[str, str]:
    """Silo -> the sentence that explains why it took no part in the run."""
    return {
        row.silo: row.sentence
        for row in history.decisions
        if row.verdict == Verdict.SILO_QUARANTINED
    }


ENDED_EARLY = {
    RunStatus.FAILED.value: "failed",
    RunStatus.PAUSED.value: "is paused",
}


def trained_silos(history: RunHistory) -> int:
    """How many silos contributed to at least one round."""
    return len({row.silo for row in history.participants if row.contributed})


def headline(history: RunHistory) -> str:
    """The run in one sentence."""
    run, title = history.run, metric_title(history, "ndcg")
    rounds = f"{len(history.rounds)} round{'' if len(history.rounds) == 1 else 's'}"
    if told := ENDED_EARLY.get(run.status):
        return f"The run {told} after {rounds}: {run.message or 'no reason recorded'}"
    overall = comparison_row(history, POOLED_SILOS)
    federated = overall.values.get(Subject.FEDERATED)
    if federated is None:
        return f"No test result yet: the run is {run.status}, {rounds} recorded."
    alone = overall.values.get(Subject.LOCAL_ONLY)
    if alone is None:
        return (
            f"Training together reached {title} {federated:.3f}; no silo was trained "
            "alone, so what joining brings is not known."
        )
    silos = trained_silos(history) or run.silos
    before, after = f"{alone:.3f}", f"{federated:.3f}"
    base = f"{before} (alone, mean of {silos} silo{'' if silos == 1 else 's'})"
    if before == after:
        return f"Training together did not move {title}: {base}, {after} together."
    verb = "raised" if federated > alone else "lowered"
    return f"Training together {verb} {title} from {base} to {after}."

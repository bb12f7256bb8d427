"""The result at a glance: key figures, and every model by every metric.

A figure that a run does not have is left out or `None`, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from data_contracts.records import POOLED_SILOS, RunHistory, Subject, Verdict
from tasks.reporting.findings import (
    comparison,
    comparison_row,
    final_value,
    metric_title,
)
from tasks.reporting.units import figure, in_bytes, in_percent, in_seconds

METRICS = ("hr", "ndcg", "mrr", "coverage", "nll")

SUBJECT_TITLES: dict[Subject, str] = {
    Subject.FEDERATED: "Federated",
    Subject.LOCAL_ONLY: "Local only, mean",
    Subject.POOLED: "Pooled",
    Subject.MARKOV: "Markov chain",
    Subject.EASE: "EASE",
    Subject.ITEM_KNN: "ItemKNN",
    Subject.POPULARITY: "Popularity",
    Subject.STARTED_FROM: "Model it started from",
}


@dataclass(frozen=True)
class KeyFigure:
    """One number of the overview, what it is, and what it is measured on."""

    label: str
    value: str
    note: str


def key_figures(history: RunHistory) -> tuple[KeyFigure, ...]:
    """The overview; figures that the run does not have are left out."""
    return (*_quality_figures(history), *_effort_figures(history))


def _quality_figures(history: RunHistory) -> tuple[KeyFigure, ...]:
    title, overall = (
        metric_title(history, "ndcg"),
        comparison_row(history, POOLED_SILOS),
    )
    together = overall.values.get(Subject.FEDERATED)
    if together is None:
        return ()
    found = [KeyFigure(f"{title} together", figure(together), "test, all silos")]
    alone, pooled = (
        overall.values.get(subject) for subject in (Subject.LOCAL_ONLY, Subject.POOLED)
    )
    if alone is not None:
        found.append(KeyFigure(f"{title} alone", figure(alone), "test, mean of silos"))
        found.append(KeyFigure("Lift", in_percent(overall.lift), "together over alone"))
    lifts = [row.lift for row in comparison(history) if row.silo != POOLED_SILOS]
    known = [lift for lift in lifts if lift is not None]
    if known:
        gaining = sum(lift > 0 for lift in known)
        found.append(
            KeyFigure("Silos that gain", f"{gaining} of {len(known)}", "by joining")
        )
    if pooled:
        share = f"{100 * together / pooled:.0f} %"
        found.append(KeyFigure("Of pooled quality", share, "without pooling data"))
    return tuple(found)


def _effort_figures(history: RunHistory) -> tuple[KeyFigure, ...]:
    rounds = history.rounds
    if not rounds:
        return ()
    rejected = sum(row.verdict == Verdict.REJECTED for row in history.decisions)
    up = sum(row.bytes_up for row in rounds)
    down = sum(row.bytes_down for row in rounds)
    return (
        KeyFigure("Rounds", str(len(rounds)), f"{rejected} rejected"),
        KeyFigure(
            "Traffic", in_bytes(up + down), f"{in_bytes(up)} up, {in_bytes(down)} down"
        ),
        KeyFigure(
            "Time in rounds",
            in_seconds(sum(row.round_seconds for row in rounds)),
            "without preparation and comparison",
        ),
    )


@dataclass(frozen=True)
class MetricLine:
    """All metrics of one model on the test users of all silos."""

    subject: Subject
    title: str
    values: tuple[float | None, ...]


def metric_lines(history: RunHistory) -> tuple[MetricLine, ...]:
    """One line per model that was measured, in the order of `SUBJECT_TITLES`."""
    lines = (
        MetricLine(
            subject,
            title,
            tuple(final_value(history, subject, POOLED_SILOS, m) for m in METRICS),
        )
        for subject, title in SUBJECT_TITLES.items()
    )
    return tuple(line for line in lines if any(v is not None for v in line.values))


def bytes_per_parameter(history: RunHistory) -> float | None:
    """Bytes that a contributing silo sent for each parameter of the model in a round.

    The median over the rounds; None without a round or a model.
    """
    if not (history.rounds and history.models):
        return None
    parameters = history.models[-1].parameters
    return median(
        row.bytes_up / max(row.contributors, 1) / parameters for row in history.rounds
    )

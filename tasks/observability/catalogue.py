"""Every metric there is: its name, what it means, and where it is read off.

Names follow Prometheus: base units, `_total` for what only grows, moments as seconds
since 1970 (an age is `time() - moment`, in the query). The number of time series is
bounded: one run per federation, the latest, is told in detail; labels are names of
federations, silos, stages and expectations, never of people or items. All of it stands
in the lineage tables, which hold no value of a row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from data_contracts.federation_records import FederationRecords
from data_contracts.records import (
    POOLED_SILOS,
    MetricRecord,
    RoundRecord,
    RunStatus,
    Stage,
    Verdict,
)

Sample = tuple[tuple[str, ...], float]
"""Values of the labels after `federation`, and the value."""


@dataclass(frozen=True)
class Metric:
    """One family of time series; each has the label `federation` first.

    Attributes:
        name: without the `_total` of a counter.
        help: one sentence.
        read: samples of one federation.
        labels: beside `federation`.
        kind: what Prometheus may do with it.
    """

    name: str
    help: str
    read: Callable[[FederationRecords], Iterable[Sample]]
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


def seconds_since_1970(moment: str) -> float:
    """Of a moment on record, which is ISO 8601 with its time zone."""
    return datetime.fromisoformat(moment).timestamp()


def _runs(told: FederationRecords) -> Iterator[Sample]:
    counts = Counter(run.status for run in told.runs)
    return (((status.value,), counts[status]) for status in RunStatus)


def _run_info(told: FederationRecords) -> Iterator[Sample]:
    run, last = told.latest.run, told.last_round
    mode = last.aggregation_mode if last else ""
    yield (run.run_id, run.status, mode, run.silorec_version), 1.0


def _last_record(told: FederationRecords) -> Iterator[Sample]:
    moments = [told.latest.run.at, *(row.at for row in told.latest.rounds)]
    yield (), max(map(seconds_since_1970, moments))


def _last_success(told: FederationRecords) -> Iterator[Sample]:
    if told.last_success is not None:
        yield (), seconds_since_1970(told.last_success.at)


def _rounds_done(told: FederationRecords) -> Iterator[Sample]:
    yield (), told.last_round.round_number if told.last_round else 0


def _rounds_planned(told: FederationRecords) -> Iterator[Sample]:
    planned = json.loads(told.latest.run.config_json).get("schedule", {}).get("rounds")
    if planned is not None:
        yield (), planned


def _of_last_round(
    read: Callable[[RoundRecord], Mapping[str, float]],
) -> Callable[[FederationRecords], Iterator[Sample]]:
    def samples(told: FederationRecords) -> Iterator[Sample]:
        if told.last_round is not None:
            for label, value in read(told.last_round).items():
                yield (label,) if label else (), value

    return samples


def _phase_seconds(told: FederationRecords) -> Iterator[Sample]:
    number = told.last_round.round_number if told.last_round else 0
    for phase in told.latest.phases:
        if phase.round_number == number:
            yield (phase.phase,), phase.seconds


def _bytes_in_all(told: FederationRecords) -> Iterator[Sample]:
    yield ("up",), sum(row.bytes_up for row in told.rounds)
    yield ("down",), sum(row.bytes_down for row in told.rounds)


def _rounds_missed(told: FederationRecords) -> Iterator[Sample]:
    missed = Counter(row.silo for row in told.latest.participants)
    missed.subtract(row.silo for row in told.latest.participants if row.contributed)
    return (((silo,), count) for silo, count in missed.items())


def _quarantined(told: FederationRecords) -> Iterator[Sample]:
    out = {
        row.silo
        for row in told.latest.decisions
        if row.verdict == Verdict.SILO_QUARANTINED
    }
    silos = out | {row.silo for row in told.latest.participants}
    return (((silo,), float(silo in out)) for silo in sorted(silos))


def _contract_failures(told: FederationRecords) -> Iterator[Sample]:
    broken = Counter(
        (row.silo, row.table, row.expectation)
        for row in told.latest.contracts
        if not row.success
    )
    return ((labels, count) for labels, count in broken.items())


def _decisions(verdict: Verdict) -> Callable[[FederationRecords], Iterator[Sample]]:
    def samples(told: FederationRecords) -> Iterator[Sample]:
        yield (), sum(row.verdict == verdict for row in told.latest.decisions)

    return samples


def _quality(told: FederationRecords) -> Iterator[Sample]:
    """The latest figure of each: every round has one for the validation window."""
    newest: dict[tuple[str, str, str], MetricRecord] = {}
    for row in told.latest.metrics:  # In the order of rounds.
        if row.silo == POOLED_SILOS:
            newest[row.subject, row.window, row.metric] = row
    return ((labels, row.value) for labels, row in newest.items())


def _models(told: FederationRecords) -> Iterator[Sample]:
    counts = Counter(move.stage for move in told.stages.values())
    return (((stage.value,), counts[stage]) for stage in Stage)


def _champion_info(told: FederationRecords) -> Iterator[Sample]:
    if told.champion is not None:
        yield (told.champion.sha256[:12], told.champion.run_id), 1.0


def _champion_since(told: FederationRecords) -> Iterator[Sample]:
    if told.champion is not None:
        yield (), seconds_since_1970(told.stages[told.champion.sha256].at)


def _champion_published(told: FederationRecords) -> Iterator[Sample]:
    if told.champion is not None:
        yield (), seconds_since_1970(told.champion.at)


METRICS: tuple[Metric, ...] = (
    Metric("silorec_runs", "Runs on record, by their present status.",
           _runs, ("status",)),
    Metric("silorec_run_info", "The latest run; always 1.",
           _run_info, ("run_id", "status", "aggregation", "version")),
    Metric("silorec_run_last_record_timestamp_seconds",
           "When the latest run last put something on record.", _last_record),
    Metric("silorec_last_success_timestamp_seconds",
           "When a run was last completed.", _last_success),
    Metric("silorec_run_rounds", "Last finished round of the latest run.",
           _rounds_done),
    Metric("silorec_run_planned_rounds", "Rounds that the latest run is to have.",
           _rounds_planned),
    Metric("silorec_run_rejected_rounds", "Rounds of the latest run whose model was "
           "worse and not kept.", _decisions(Verdict.REJECTED)),
    Metric("silorec_rounds", "Finished rounds of all runs.",
           lambda told: [((), len(told.rounds))], kind="counter"),
    Metric("silorec_round_seconds", "Wall time of the last round.",
           _of_last_round(lambda row: {"": row.round_seconds})),
    Metric("silorec_round_stage_seconds", "Wall time of the last round's stages.",
           _of_last_round(lambda row: {"train": row.train_seconds,
                                       "aggregate": row.aggregate_seconds,
                                       "evaluate": row.evaluate_seconds}), ("stage",)),
    Metric("silorec_round_phase_seconds",
           "Wall time of the phases of the last round's secure sum.",
           _phase_seconds, ("phase",)),
    Metric("silorec_round_transferred_bytes", "Bytes of the last round, to the "
           "coordinator (up) and to silos (down).",
           _of_last_round(lambda row: {"up": row.bytes_up, "down": row.bytes_down}),
           ("direction",)),
    Metric("silorec_transferred_bytes", "Bytes of all rounds of all runs.",
           _bytes_in_all, ("direction",), "counter"),
    Metric("silorec_round_silos", "Silos in the last round's sum, and those that "
           "dropped out of the round.",
           _of_last_round(lambda row: {"contributed": row.contributors,
                                       "dropped": row.dropped}), ("outcome",)),
    Metric("silorec_silo_missed_rounds",
           "Rounds of the latest run that a silo did not contribute to.",
           _rounds_missed, ("silo",)),
    Metric("silorec_silo_quarantined",
           "1 for a silo that was kept out of the latest run.",
           _quarantined, ("silo",)),
    Metric("silorec_contract_failures", "Expectations that a silo's tables broke in "
           "the latest run.", _contract_failures, ("silo", "table", "expectation")),
    Metric("silorec_train_loss", "Training loss of the last round.",
           _of_last_round(lambda row: {"": row.train_loss})),
    Metric("silorec_learning_rate", "Learning rate of the last round.",
           _of_last_round(lambda row: {"": row.learning_rate})),
    Metric("silorec_update_norm", "Length of the last round's mean update.",
           _of_last_round(lambda row: {"": row.update_norm})),
    Metric("silorec_noise_multiplier", "Noise in the last round's sum over the "
           "clipping norm; 0 without privacy.",
           _of_last_round(lambda row: {"": row.noise_multiplier})),
    Metric("silorec_quality", "Ranking metrics of the latest run over the users of "
           "all silos.", _quality, ("subject", "window", "metric")),
    Metric("silorec_privacy_epsilon", "Epsilon that a silo has spent in the period, "
           "all its runs together.",
           lambda told: [((s,), row.epsilon) for s, row in told.privacy.items()],
           ("silo",)),
    Metric("silorec_privacy_epsilon_budget", "Epsilon that a silo allows in the "
           "period.",
           lambda told: [((s,), row.budget) for s, row in told.privacy.items()],
           ("silo",)),
    Metric("silorec_models", "Published models by their stage, as far as one was "
           "decided.", _models, ("stage",)),
    Metric("silorec_champion_info", "The model in use; always 1.",
           _champion_info, ("model", "run_id")),
    Metric("silorec_champion_promoted_timestamp_seconds",
           "When the model in use came into use.", _champion_since),
    Metric("silorec_champion_published_timestamp_seconds",
           "When the model in use was published.", _champion_published),
)  # fmt: skip

SERVING_METRICS = (
    "silorec_serving_requests_total",
    "silorec_serving_request_seconds",
    "silorec_serving_model_swaps_total",
)
"""Told by the serving processes themselves, each at its own address."""

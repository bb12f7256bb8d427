"""What a person must not overlook: cautions, and the privacy a run really had.

Sentences are derived from what was recorded as done; the configuration, which says
what was wanted, only fills in for runs that never reached a round. Leaves out any
judgement that needs more than one run (significance, trends).
"""

from __future__ import annotations

from collections.abc import Iterator

from data_contracts.records import POOLED_SILOS, RunHistory, Subject
from tasks.reporting.findings import (
    comparison_row,
    losers,
    metric_title,
    quarantined,
    setting,
)
from tasks.reporting.private_remarks import formal_privacy
from tasks.reporting.remarks import Remark, Tone

PLAIN = "plain"
MASKED = "masked"
HOMOMORPHIC = "homomorphic"
TWO_AGGREGATORS = "two-aggregators"
_HIDING_CONTRIBUTORS = 3
BASELINES = (Subject.MARKOV, Subject.EASE, Subject.ITEM_KNN, Subject.POPULARITY)


def aggregation_modes(history: RunHistory) -> set[str]:
    """The modes rounds were aggregated in; before the first, the one configured."""
    done = {row.aggregation_mode for row in history.rounds}
    return done or {setting(history, "secure_aggregation", "mode", "not recorded")}


def cautions(history: RunHistory) -> tuple[Remark, ...]:
    """What to know before believing or promoting the result, loudest first."""
    remarks = (*_exposure(history), *_quality(history), *_attendance(history))
    loudness = list(reversed(Tone))
    return tuple(sorted(remarks, key=lambda remark: loudness.index(remark.tone)))


def _exposure(history: RunHistory) -> Iterator[Remark]:
    if PLAIN in aggregation_modes(history):
        yield Remark(
            Tone.ALARM,
            "Secure aggregation was off: the coordinator could read every silo's "
            "update. Do not use this mode with real data.",
        )
    thin = [
        row.round_number
        for row in history.rounds
        if row.aggregation_mode != PLAIN and row.contributors < _HIDING_CONTRIBUTORS
    ]
    if thin:
        yield Remark(
            Tone.ALARM,
            f"{_rounds(thin)} had fewer than {_HIDING_CONTRIBUTORS} contributors: a "
            "sum of so few does not hide a silo's update from the others.",
        )


def _quality(history: RunHistory) -> Iterator[Remark]:
    title = metric_title(history, "ndcg")
    for row in losers(history):
        yield Remark(
            Tone.WARNING,
            f"{row.silo} loses by joining: {title} "
            f"{row.values[Subject.FEDERATED]:.4f} together, "
            f"{row.values[Subject.LOCAL_ONLY]:.4f} alone.",
        )
    overall = comparison_row(history, POOLED_SILOS).values
    federated = overall.get(Subject.FEDERATED)
    for baseline in BASELINES:
        value = overall.get(baseline)
        if federated is not None and value is not None and federated <= value:
            yield Remark(
                Tone.WARNING,
                f"The shared model does not beat the {baseline} baseline ({title} "
                f"{federated:.4f} against {value:.4f}); do not promote it.",
            )
    if any(row.clipped_coordinates for row in history.rounds):
        worst = max(history.rounds, key=lambda row: row.clipped_coordinates)
        narrow = setting(history, "secure_aggregation", "ring_bits", 32) < 32
        advice = (
            "the silos make them good in later rounds"
            if narrow
            else "if that is many, raise secure_aggregation.clip"
        )
        yield Remark(
            Tone.INFO,
            f"Coordinates of updates were clipped before summing (most in round "
            f"{worst.round_number}: {worst.clipped_coordinates:,}); {advice}.",
        )


def _attendance(history: RunHistory) -> Iterator[Remark]:
    for silo, sentence in quarantined(history).items():
        yield Remark(Tone.WARNING, f"{silo} took no part in the run: {sentence}")
    short = [row.round_number for row in history.rounds if row.dropped]
    if short:
        yield Remark(
            Tone.INFO,
            f"{_rounds(short)} went on without a silo; 'Who took part' in the "
            "report says which and why.",
        )


def _rounds(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"Round {numbers[0]}"
    if len(numbers) > 8:
        return f"{len(numbers)} rounds"
    return f"Rounds {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def privacy(history: RunHistory) -> tuple[Remark, ...]:
    """What this run kept from whom, and what it did not."""
    return (
        *_aggregation(history),
        *_metrics_visibility(history),
        *_pooling(history),
        *formal_privacy(history),
        Remark(
            Tone.INFO,
            "Also known to the coordinator, as recorded in this report: which silo "
            "took part when and for how long, bytes sent, hashes of data snapshots, "
            "and data contract results with coarse counts.",
        ),
    )


_MODE_REMARKS: dict[str, Remark] = {
    PLAIN: Remark(
        Tone.ALARM,
        "Aggregation mode: PLAIN. The coordinator could read every silo's update; "
        "training data may be reconstructed from such updates.",
    ),
    MASKED: Remark(
        Tone.GOOD,
        "Aggregation mode: masked. The coordinator saw masked vectors and their sum "
        "over silos, not a single silo's update.",
    ),
    HOMOMORPHIC: Remark(
        Tone.WARNING,
        "Aggregation mode: homomorphic. The coordinator saw ciphertexts and their sum "
        "over silos; together with any one silo, which all share one key, it could "
        "have read every silo's update.",
    ),
    TWO_AGGREGATORS: Remark(
        Tone.INFO,
        "Aggregation mode: two-aggregators. The coordinator saw masked vectors and "
        "their sum over silos, the auditor only seeds; the two together could have "
        "read every silo's update.",
    ),
}


def _aggregation(history: RunHistory) -> Iterator[Remark]:
    for mode in sorted(aggregation_modes(history)):
        if history.rounds or mode == PLAIN:
            unknown = Remark(Tone.WARNING, f"Aggregation mode: {mode}.")
            yield _MODE_REMARKS.get(mode, unknown)
        else:
            yield Remark(
                Tone.INFO,
                f"Aggregation mode: {mode}, as configured; no round was finished.",
            )


def _metrics_visibility(history: RunHistory) -> Iterator[Remark]:
    if any(row.metrics != "trusted-coordinator" for row in history.privacy):
        return  # said with the guarantee
    shown = any(row.silo != POOLED_SILOS for row in history.metrics)
    if shown or setting(history, "evaluation", "per_silo_metrics", True):
        yield Remark(
            Tone.WARNING,
            "Each silo's metrics were visible to the coordinator. Set "
            "evaluation.per_silo_metrics to false to show it their sum only.",
        )
    else:
        yield Remark(
            Tone.GOOD,
            "Metrics of single silos stayed with them; the coordinator saw sums over "
            "silos only.",
        )


def _pooling(history: RunHistory) -> Iterator[Remark]:
    if any(row.subject == Subject.POOLED for row in history.metrics):
        yield Remark(
            Tone.INFO,
            "The pooled comparison brought the silos' tables of a public data set "
            "together on one machine; it is never done with the silos' own tables.",
        )

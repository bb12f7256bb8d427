"""From the tiny pass to the real run: time, bytes, memory, disk and cost.

An upper estimate for a run that goes through all its rounds: silos take turns as they
do in the run, each at the pace of its sample. Left out: early stopping, what early key
exchange saves, and other work on the same machines.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from data_contracts.preflight import CanaryRound, RunEstimate
from data_contracts.run_config import FederatedTrainingConfig

WORD_BYTES = 4
FLOAT_BYTES = 4
COUNT_BYTES = 8
RECORD_SECONDS = 0.15
"""Of one round's rows and model file, on a small machine."""

FINISHING_SECONDS = 6.0
"""Report, artifacts, and waiting for the last task runs to be written."""

SECONDS_PER_HOUR = 3600.0


def estimate_run(
    canary: CanaryRound,
    config: FederatedTrainingConfig,
    price_per_hour: float | None = None,
) -> RunEstimate:
    """What the run of this configuration takes, after its tiny pass.

    Args:
        canary: the tiny pass.
        config: of the real run.
        price_per_hour: of all machines together, in any currency.
    """
    rounds = config.schedule.rounds
    warm_up = (one.training.warm_up_seconds for one in canary.silos.values())
    before = (
        canary.start_seconds + canary.before_seconds + makespan(warm_up, canary.at_once)
    )
    one_round = (
        makespan(_training(canary), canary.at_once)
        + canary.sum_seconds
        + makespan(_evaluation(canary), canary.at_once)
        + RECORD_SECONDS
        + (0.0 if config.evaluation.per_silo_metrics else canary.metrics_seconds)
    )
    after = FINISHING_SECONDS + comparison_seconds(canary, config)
    up, down = traffic(canary, config)
    hours = (before + rounds * one_round + after) / SECONDS_PER_HOUR
    return RunEstimate(
        rounds=rounds,
        before_seconds=before,
        round_seconds=one_round,
        after_seconds=after,
        bytes_up=up,
        bytes_down=down,
        memory_bytes=largest_silo(canary) + extra_memory(canary, config),
        disk_bytes=rounds * FLOAT_BYTES * canary.parameters,
        cost=None if price_per_hour is None else hours * price_per_hour,
    )


def makespan(durations: Iterable[float], at_once: int) -> float:
    """Seconds until all have had their turn, `at_once` at a time, in this order.

    >>> makespan([3.0, 1.0, 1.0, 1.0], 2)
    3.0
    >>> makespan([1.0, 1.0, 1.0], 1)
    3.0
    """
    free = [0.0] * max(1, at_once)
    for seconds in durations:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def comparison_seconds(canary: CanaryRound, config: FederatedTrainingConfig) -> float:
    """The test window, the baselines, and training alone and pooled."""
    evaluation = config.evaluation
    ranking = makespan(_evaluation(canary), canary.at_once)
    seconds = ranking + canary.metrics_seconds
    if evaluation.baselines:
        pairs = canary.sum_seconds * canary.pairs / max(canary.words, 1)
        baselines = 4 if canary.pairs else 1
        seconds += baselines * (ranking + canary.metrics_seconds) + pairs
    if evaluation.local_only:
        alone = [
            config.schedule.rounds
            * (one.training.round_seconds + one.evaluation.round_seconds)
            for one in canary.silos.values()
        ]
        pooled = [sum(alone)] if evaluation.pooled else []
        seconds += makespan([*pooled, *alone], canary.at_once)
        seconds += ranking + canary.metrics_seconds
    return seconds


def traffic(
    canary: CanaryRound, config: FederatedTrainingConfig
) -> tuple[float, float]:
    """(bytes up, bytes down) of all rounds and the baselines, for all silos."""
    rounds, silos = config.schedule.rounds, len(canary.silos)
    first = sum(one.bytes_up for one in canary.silos.values())
    # The first round takes whole words; ciphertexts do not become smaller.
    narrow = WORD_BYTES - config.secure_aggregation.ring_bits // 8
    later = first - narrow * canary.words * silos
    up = first + (rounds - 1) * later
    up += WORD_BYTES * canary.pairs * silos
    down = rounds * (canary.bytes_down + canary.model_bytes * silos)
    return float(up), float(down)


def largest_silo(canary: CanaryRound) -> float:
    """Largest resident size of a silo's process in the tiny pass, in bytes."""
    return max(one.resources.peak_memory_bytes for one in canary.silos.values())


def extra_memory(canary: CanaryRound, config: FederatedTrainingConfig) -> float:
    """What the real run needs in a silo beyond the tiny pass, in bytes.

    The best model of training alone beside the present one, and the pairs of items:
    counted, as words, and as a chain.
    """
    alone = 2 * FLOAT_BYTES * canary.parameters * config.evaluation.local_only
    pairs = canary.pairs * (COUNT_BYTES + WORD_BYTES + FLOAT_BYTES)
    return float(alone + pairs)


def _training(canary: CanaryRound) -> list[float]:
    return [one.training.round_seconds for one in canary.silos.values()]


def _evaluation(canary: CanaryRound) -> list[float]:
    return [one.evaluation.round_seconds for one in canary.silos.values()]

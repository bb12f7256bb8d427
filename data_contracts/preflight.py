"""What a preflight measures, checks and foretells; nothing here is put on record.

What silos tell of time and memory follows from the size of their data, so it leaves
them with two significant digits only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: what was looked at.
        status: failed, if the real run would not get through.
        sentence: what was found.
        remedy: what to do about it; empty where there is nothing to do.
    """

    name: str
    status: CheckStatus
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingSample:
    """What a few batches took inside a silo; two significant digits.

    Attributes:
        seconds_per_batch: without the first, which warms up.
        round_seconds: of a whole round at that pace.
        warm_up_seconds: what the first batch of a process takes longer than others.
    """

    seconds_per_batch: float
    round_seconds: float
    warm_up_seconds: float


@dataclass(frozen=True, kw_only=True)
class EvaluationSample:
    """What ranking for some users took inside a silo; two significant digits.

    Attributes:
        round_seconds: for all users with a validation target at that pace.
    """

    round_seconds: float


@dataclass(frozen=True, kw_only=True)
class SiloResources:
    """What a silo's process has used and what its machine has left.

    Attributes:
        machine: hash of the machine's name: silos with the same share what is left.
        code_hash: of the code that the silo runs.
        peak_memory_bytes: largest resident size so far; two significant digits.
        free_memory_bytes: available on the machine; two significant digits.
        free_disk_bytes: where the silo's folder lies; two significant digits.
    """

    machine: str
    code_hash: str
    peak_memory_bytes: float
    free_memory_bytes: float
    free_disk_bytes: float


@dataclass(frozen=True, kw_only=True)
class SiloMeasurement:
    """One silo after the tiny pass.

    Attributes:
        training: of its sample.
        evaluation: of its sample.
        resources: after both.
        bytes_up: what it sent for the secure sum of its update.
    """

    training: TrainingSample
    evaluation: EvaluationSample
    resources: SiloResources
    bytes_up: int


@dataclass(frozen=True, kw_only=True)
class CanaryRound:
    """The tiny pass, as the coordinator saw it.

    Attributes:
        silos: those that went all the way.
        at_once: silos that work at the same time.
        start_seconds: until the silos were up.
        before_seconds: from there to the first round.
        sum_seconds: of the secure sum of the updates.
        metrics_seconds: of the secure sum of the metrics.
        bytes_down: of the former, to all silos together.
        words: numbers in a silo's update as it is summed.
        parameters: of the model.
        pairs: numbers in the baselines' sums over pairs of items; 0 if there is none.
        model_bytes: of the model as it is sent.
    """

    silos: Mapping[str, SiloMeasurement]
    at_once: int
    start_seconds: float
    before_seconds: float
    sum_seconds: float
    metrics_seconds: float
    bytes_down: int
    words: int
    parameters: int
    pairs: int
    model_bytes: int


@dataclass(frozen=True, kw_only=True)
class RunEstimate:
    """What the real run would take if it went through all its rounds.

    Attributes:
        rounds: of the configuration; a run may stop early.
        before_seconds: until the first round, start-up included.
        round_seconds: of one round.
        after_seconds: test, comparisons and report.
        bytes_up: from all silos, over all rounds and the comparisons.
        bytes_down: to all silos, over the same.
        memory_bytes: of the largest silo process.
        disk_bytes: in the output folder.
        cost: at the price that was given; None without one.
    """

    rounds: int
    before_seconds: float
    round_seconds: float
    after_seconds: float
    bytes_up: float
    bytes_down: float
    memory_bytes: float
    disk_bytes: float
    cost: float | None

    @property
    def total_seconds(self) -> float:
        """Of the whole run."""
        rounds = self.rounds * self.round_seconds
        return self.before_seconds + rounds + self.after_seconds


@dataclass(frozen=True, kw_only=True)
class PreflightReport:
    """Everything a preflight found.

    Attributes:
        name: of the run series.
        checks: in the order they were made.
        canary: None, if the tiny pass was not completed.
        estimate: None, then.
    """

    name: str
    checks: tuple[Check, ...]
    canary: CanaryRound | None
    estimate: RunEstimate | None

    @property
    def failed(self) -> tuple[Check, ...]:
        """What the real run would not get through."""
        return tuple(c for c in self.checks if c.status is CheckStatus.FAILED)


def coarse(value: float) -> float:
    """Two significant digits.

    >>> coarse(0.01234), coarse(987_654), coarse(0)
    (0.012, 990000.0, 0.0)
    """
    return float(f"{value:.1e}")

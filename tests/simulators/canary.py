"""A made-up tiny pass of three silos, with figures that can be checked by eye."""

from __future__ import annotations

from data_contracts.preflight import (
    CanaryRound,
    EvaluationSample,
    SiloMeasurement,
    SiloResources,
    TrainingSample,
)


def resources(
    machine: str = "one", free_memory: float = 8e9, free_disk: float = 50e9
) -> SiloResources:
    return SiloResources(
        machine=machine,
        code_hash="c0" * 32,
        peak_memory_bytes=5e8,
        free_memory_bytes=free_memory,
        free_disk_bytes=free_disk,
    )


def canary_round(
    *,
    train_seconds: float = 1.0,
    warm_up_seconds: float = 0.0,
    evaluate_seconds: float = 0.5,
    metrics_seconds: float = 0.1,
    bytes_up: int = 4_000,
    bytes_down: int = 100,
    words: int = 1_000,
    parameters: int = 1_000,
    pairs: int = 0,
    told: dict[str, SiloResources] | None = None,
) -> CanaryRound:
    told = told or {silo: resources() for silo in ("north", "south", "west")}
    return CanaryRound(
        silos={
            silo: SiloMeasurement(
                training=TrainingSample(
                    seconds_per_batch=0.01,
                    round_seconds=train_seconds,
                    warm_up_seconds=warm_up_seconds,
                ),
                evaluation=EvaluationSample(round_seconds=evaluate_seconds),
                resources=one,
                bytes_up=bytes_up,
            )
            for silo, one in told.items()
        },
        at_once=2,
        start_seconds=3.0,
        before_seconds=2.0,
        sum_seconds=0.2,
        metrics_seconds=metrics_seconds,
        bytes_down=bytes_down,
        words=words,
        parameters=parameters,
        pairs=pairs,
        model_bytes=4 * parameters,
    )

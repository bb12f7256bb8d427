"""Made-up runs for the lineage store, with values that can be checked by eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_contracts.records import (
    POOLED_SILOS,
    ContractRecord,
    Decider,
    DecisionRecord,
    MetricRecord,
    ModelStageRecord,
    ModelVersionRecord,
    ParticipantRecord,
    PhaseRecord,
    PrivacyAuditRecord,
    PrivacyRecord,
    Record,
    RetrainingRecord,
    RoundRecord,
    RunRecord,
    RunStatus,
    Stage,
    Subject,
    Verdict,
)
from tasks.lineage.store import LineageStore

MARCH = "3a" * 32
APRIL = "4b" * 32


def sha(run_id: str, round_number: int) -> str:
    """A made-up hash; differs from others in its first letters."""
    return f"{round_number:02d}{run_id}".encode().hex().ljust(64, "0")


def run_record(run_id: str, sequence: int = 0, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "run_id": run_id,
        "sequence": sequence,
        "name": "weekly",
        "status": RunStatus.COMPLETED if sequence else RunStatus.RUNNING,
        "at": f"2026-01-01T0{sequence}:00:00Z",
        "config_hash": "c0" * 32,
        "config_json": "{}",
        "code_hash": "c1" * 32,
        "silorec_version": "0.1.0",
        "flow_run_id": "",
        "silos": 2,
        "message": "",
    }
    return RunRecord(**values | changes)


def contract_record(run_id: str, silo: str, success: bool = True) -> ContractRecord:
    return ContractRecord(
        run_id=run_id,
        silo=silo,
        suite="interactions",
        suite_version="1",
        table="interactions",
        column="user_id",
        expectation="not null",
        success=success,
        unexpected_count="0" if success else "10-99",
    )


def privacy_record(run_id: str, silo: str) -> PrivacyRecord:
    return PrivacyRecord(
        run_id=run_id,
        silo=silo,
        entry="charged",
        at="2026-03-01T10:00:00+00:00",
        mode="local",
        metrics="noisy",
        epsilon=3.5,
        budget=8.0,
        delta=1e-5,
        period="year",
        noise_multiplier=1.5,
        sampling_probability=0.2,
        steps=100,
        ledger_entries=1,
        ledger_head=sha(silo, 1),
    )


def audit_record(audit_id: str, model_sha256: str = "") -> PrivacyAuditRecord:
    return PrivacyAuditRecord(
        run_id=audit_id,
        family="dirac",
        at="2026-03-01T10:00:00+00:00",
        model_sha256=model_sha256,
        trainer="train_privately",
        claimed_epsilon=8.0,
        delta=1e-5,
        confidence=0.95,
        noise_multiplier=1.2,
        sampling_probability=0.25,
        steps=80,
        canaries=2000,
        one_run_bound=1.0,
        f_dp_bound=3.0,
        ceiling=9.0,
        estimate=6.0,
        estimate_low=5.5,
        estimate_high=6.5,
        control_bound=7.0,
        control_estimate=70.0,
        verdict="pass",
        sentence="Nothing contradicts the claim.",
        seconds=60.0,
        code_hash="c0de",
    )


def stage_record(run_id: str) -> ModelStageRecord:
    return ModelStageRecord(
        federation=f"federation-of-{run_id}",
        sequence=0,
        run_id=run_id,
        model_sha256=sha(run_id, 1),
        stage=Stage.CHAMPION,
        decided_by=Decider.POLICY,
        sentence="better than the last",
        at="2026-03-01T10:00:00+00:00",
    )


def retraining_record(run_id: str) -> RetrainingRecord:
    return RetrainingRecord(
        run_id=f"retraining-of-{run_id}",
        federation="weekly",
        at="2026-03-01T10:00:00+00:00",
        outcome="promoted",
        champion_sha256="",
        challenger_sha256=sha(run_id, 1),
        new_silos=2,
        quarantined_silos=0,
        sentence="better than the last",
    )


def participant_record(
    run_id: str,
    round_number: int,
    silo: str,
    *,
    contributed: bool = True,
    snapshot: str = MARCH,
) -> ParticipantRecord:
    return ParticipantRecord(
        run_id=run_id,
        round_number=round_number,
        silo=silo,
        contributed=contributed,
        reason="" if contributed else "missed the deadline",
        data_snapshot_hash=snapshot,
        update_commitment="d0" * 32 if contributed else "",
        code_hash="c1" * 32,
        config_hash="c0" * 32,
        train_seconds=0.5,
        bytes_sent=4_000_000,
    )


def metric_record(
    run_id: str, round_number: int, silo: str = POOLED_SILOS
) -> MetricRecord:
    return MetricRecord(
        run_id=run_id,
        round_number=round_number,
        subject=Subject.FEDERATED,
        silo=silo,
        window="validation",
        metric="ndcg",
        value=0.125,
        users=100,
    )


def decision_record(
    run_id: str, round_number: int, verdict: Verdict = Verdict.ACCEPTED
) -> DecisionRecord:
    return DecisionRecord(
        run_id=run_id,
        round_number=round_number,
        verdict=verdict,
        silo="",
        sentence="ndcg did not fall.",
    )


def model_record(
    run_id: str, round_number: int, parent: str, *, published: bool = False
) -> ModelVersionRecord:
    return ModelVersionRecord(
        run_id=run_id,
        round_number=round_number,
        name="weekly",
        sha256=sha(run_id, round_number),
        path=f"models/{sha(run_id, round_number)}.safetensors",
        size_bytes=4_000_000,
        parameters=1_000_000,
        vocabulary_sha256="f0" * 32,
        parent_sha256=parent,
        published=published,
        at="2026-01-01T00:30:00Z",
    )


def round_record(run_id: str, round_number: int, contributors: int = 2) -> RoundRecord:
    return RoundRecord(
        run_id=run_id,
        round_number=round_number,
        at="2026-01-01T00:30:00Z",
        contributors=contributors,
        dropped=0,
        aggregation_mode="secure",
        learning_rate=0.1,
        train_loss=2.5,
        clipped_coordinates=0,
        update_norm=1.5,
        noise_multiplier=0.0,
        model_sha256=sha(run_id, round_number),
        train_seconds=0.5,
        aggregate_seconds=0.25,
        evaluate_seconds=0.25,
        round_seconds=1.0,
        bytes_up=8_000_000,
        bytes_down=8_000_000,
    )


def phase_record(run_id: str, round_number: int) -> PhaseRecord:
    return PhaseRecord(
        run_id=run_id,
        round_number=round_number,
        phase="masked input",
        asked=2,
        answered=2,
        bytes_up=8_000_000,
        seconds=0.25,
    )


def round_records(
    run_id: str,
    round_number: int,
    *,
    parent: str,
    silos: Mapping[str, str] | None = None,
    absent: tuple[str, ...] = (),
    verdict: Verdict = Verdict.ACCEPTED,
) -> list[Record]:
    """Everything one round leaves behind; `silos` maps names to snapshots."""
    silos = {"north": MARCH, "south": MARCH} if silos is None else silos
    participants = [
        participant_record(
            run_id, round_number, silo, contributed=silo not in absent, snapshot=hash_
        )
        for silo, hash_ in silos.items()
    ]
    return [
        *participants,
        phase_record(run_id, round_number),
        metric_record(run_id, round_number),
        *(metric_record(run_id, round_number, silo) for silo in silos),
        decision_record(run_id, round_number, verdict),
        model_record(run_id, round_number, parent),
        round_record(run_id, round_number, len(silos) - len(absent)),
    ]


def append_round(
    store: LineageStore, run_id: str, round_number: int, **choices: Any
) -> None:
    choices = {"parent": sha(run_id, round_number - 1)} | choices
    records = round_records(run_id, round_number, **choices)
    store.append(records, run_id=run_id, step=f"round-{round_number}")


def append_start(store: LineageStore, run_id: str, **changes: Any) -> None:
    store.append([run_record(run_id, **changes)], run_id=run_id, step="status-0")


def append_end(store: LineageStore, run_id: str, *records: Record) -> None:
    rows = [*records, run_record(run_id, 1)]
    store.append(rows, run_id=run_id, step="status-1")


def append_run(
    store: LineageStore,
    run_id: str,
    rounds: int = 2,
    *,
    base: str = "",
    **choices: Any,
) -> str:
    """A whole run; returns the hash of the model it published."""
    append_start(store, run_id)
    contracts = [contract_record(run_id, silo) for silo in ("north", "south")]
    store.append(contracts, run_id=run_id, step="admission")
    told = [*(privacy_record(run_id, silo) for silo in ("north", "south"))]
    audited = audit_record(f"audit-of-{run_id}")
    decided = [stage_record(run_id), retraining_record(run_id)]
    told = [*told, audited, *decided]
    store.append(told, run_id=run_id, step="privacy-charged")
    for number in range(1, rounds + 1):
        parent = base if number == 1 else sha(run_id, number - 1)
        append_round(store, run_id, number, parent=parent, **choices)
    parent = base if rounds == 1 else sha(run_id, rounds - 1)
    append_end(store, run_id, model_record(run_id, rounds, parent, published=True))
    return sha(run_id, rounds)

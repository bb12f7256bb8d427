"""A believable run of MovieLens size, from a seed: the input of every report test."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace

from data_contracts.errors import FailureReason
from data_contracts.records import (
    POOLED_SILOS,
    ContractRecord,
    DecisionRecord,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    PhaseRecord,
    RoundRecord,
    RunHistory,
    RunRecord,
    RunStatus,
    Subject,
    Verdict,
)
from data_contracts.run_config import FederatedTrainingConfig, parse_config

RUN_ID = "federated-training-20260301-081500"
OCCUPATIONS = ("executive-sales", "student-writer", "engineer-technical", "educator")
FINAL = {
    Subject.FEDERATED: 0.100,
    Subject.LOCAL_ONLY: 0.075,
    Subject.POOLED: 0.110,
    Subject.POPULARITY: 0.045,
    Subject.MARKOV: 0.094,
    Subject.ITEM_KNN: 0.065,
    Subject.EASE: 0.076,
}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def silo_names(silos: int) -> tuple[str, ...]:
    return (*OCCUPATIONS, *(f"silo-{n:02}" for n in range(5, silos + 1)))[:silos]


def fake_config(mode: str = "masked", **evaluation: object) -> FederatedTrainingConfig:
    values = {
        "data": {"dataset": "ml-100k"},
        "secure_aggregation": {"mode": mode},
        "evaluation": {"pooled": True, **evaluation},
    }
    return parse_config(values, origin="test")


def fake_history(
    silos: int = 4,
    rounds: int = 10,
    mode: str = "masked",
    per_silo_metrics: bool = True,
    subjects: tuple[Subject, ...] = tuple(FINAL),
    loser: str = "",
    quarantined: str = "",
    seed: int = 7,
) -> RunHistory:
    """A completed run; `loser` gains nothing by joining, `quarantined` is kept out.

    Round 3 is rejected and cut the learning rate; the last silo misses round 2
    where there are enough silos to spare one.
    """
    chance = random.Random(seed)
    config = fake_config(mode, per_silo_metrics=per_silo_metrics)
    names = silo_names(silos)
    absent = {2: names[-1]} if silos > 3 else {}
    return RunHistory(
        run=_run(config, silos),
        contracts=tuple(_contracts([*names, *([quarantined] if quarantined else [])])),
        rounds=tuple(_round(n, silos, n in absent, mode, chance, rounds)
                     for n in range(1, rounds + 1)),
        participants=tuple(_participant(n, name, absent.get(n) == name, config, chance)
                           for n in range(1, rounds + 1) for name in names),
        phases=tuple(
            phase
            for n in range(1, rounds + 1)
            for phase in _phases(n, silos, silos - (n in absent), mode)
        ),
        metrics=tuple(
            _metrics(names, rounds, per_silo_metrics, subjects, loser, chance)
        ),
        decisions=tuple(_decisions(rounds, absent, quarantined)),
        models=tuple(_model(n, n == rounds) for n in range(1, rounds + 1)),
    )  # fmt: skip


def failed_history(rounds: int = 0) -> RunHistory:
    """A run that lost its quorum: no test figures, nothing published."""
    whole = fake_history(rounds=max(rounds, 1))
    message = "2 silos are left and cohort.min_silos is 3; the run stopped."
    return replace(
        whole,
        run=replace(whole.run, status=RunStatus.FAILED, message=message),
        rounds=whole.rounds[:rounds],
        participants=whole.participants if rounds else (),
        phases=whole.phases if rounds else (),
        metrics=tuple(m for m in whole.metrics if rounds and m.window != "test"),
        decisions=(),
        models=tuple(replace(m, published=False) for m in whole.models[:rounds]),
    )


def _run(config: FederatedTrainingConfig, silos: int) -> RunRecord:
    return RunRecord(
        run_id=RUN_ID, sequence=2, name=config.name, status=RunStatus.COMPLETED,
        at="2026-03-01T08:17:02+00:00", config_hash=config.config_hash(),
        config_json=json.dumps(config.model_dump(mode="json")), code_hash=sha("code"),
        silorec_version="0.1.0", flow_run_id="", silos=silos, message="",
    )  # fmt: skip


def _contracts(names: list[str]) -> list[ContractRecord]:
    expectations = (
        ("interactions", "user_id", "values are not null"),
        ("interactions", "item_id", "values are not null"),
        ("interactions", "rating", "values lie between 1 and 5"),
        ("interactions", "timestamp", "values are after 1990-01-01"),
        ("items", "item_id", "values are unique"),
    )
    return [
        ContractRecord(
            run_id=RUN_ID, silo=name, suite=f"{table}-suite", suite_version="1",
            table=table, column=column, expectation=expectation, success=fine,
            unexpected_count="0" if fine else "10 to 100",
        )
        for name in names
        for table, column, expectation in expectations
        for fine in [name in silo_names(40) or column != "rating"]
    ]  # fmt: skip


def _round(
    n: int, silos: int, dropped: bool, mode: str, chance: random.Random, rounds: int
) -> RoundRecord:
    train, evaluate = 5.2 + chance.random(), 0.8 + 0.2 * chance.random()
    aggregate = 0.9 + 0.2 * chance.random() if mode == "masked" else 0.2
    return RoundRecord(
        run_id=RUN_ID, round_number=n, at="2026-03-01T08:16:00+00:00",
        contributors=silos - dropped, dropped=int(dropped), aggregation_mode=mode,
        learning_rate=0.008 * (1 - n / (rounds + 1)), train_loss=6.9 - 0.12 * n,
        clipped_coordinates=0, update_norm=14.0 / n, noise_multiplier=0.0,
        model_sha256=sha(f"model {n}"),
        train_seconds=train, aggregate_seconds=aggregate, evaluate_seconds=evaluate,
        round_seconds=train + aggregate + evaluate + 0.35,
        bytes_up=(silos - dropped) * 1_172_000 + (2_400 if dropped else 0),
        bytes_down=silos * 1_168_000,
    )  # fmt: skip


def _phases(n: int, asked: int, answered: int, mode: str) -> Iterator[PhaseRecord]:
    shares = {
        "masked": {
            "advertise keys": 0.1, "share keys": 0.2, "masked input": 0.5,
            "confirm survivors": 0.1, "unmasking": 0.1,
        },
        "homomorphic": {"encrypted input": 0.7, "open sum": 0.3},
        "two-aggregators": {"split input": 0.5, "sum masks": 0.5},
        "plain": {"plain input": 1.0},
    }[mode]  # fmt: skip
    for phase, share in shares.items():
        yield PhaseRecord(
            run_id=RUN_ID, round_number=n, phase=phase, asked=asked, answered=answered,
            bytes_up=answered * (1_168_000 if "input" in phase else 1_000),
            seconds=share,
        )  # fmt: skip


def _participant(
    n: int,
    name: str,
    absent: bool,
    config: FederatedTrainingConfig,
    chance: random.Random,
) -> ParticipantRecord:
    return ParticipantRecord(
        run_id=RUN_ID, round_number=n, silo=name, contributed=not absent,
        reason=FailureReason.TIMED_OUT if absent else "",
        data_snapshot_hash=sha(f"data of {name}"),
        update_commitment="" if absent else sha(f"update {n} of {name}"),
        code_hash=sha("code"), config_hash=config.config_hash(),
        train_seconds=3.0 + 2.0 * chance.random(),
        bytes_sent=0 if absent else 1_172_000,
    )  # fmt: skip


def _metrics(
    names: tuple[str, ...],
    rounds: int,
    per_silo: bool,
    subjects: tuple[Subject, ...],
    loser: str,
    chance: random.Random,
) -> list[MetricRecord]:
    skill = {name: chance.uniform(0.82, 1.18) for name in names} | {POOLED_SILOS: 1.0}
    people = {name: chance.randint(190, 290) for name in names}
    people[POOLED_SILOS] = sum(people.values())
    rows = []

    def add(n: int, subject: Subject, silo: str, window: str, ndcg: float) -> None:
        values = {"ndcg": ndcg, "hr": 1.9 * ndcg, "mrr": 0.85 * ndcg,
                  "coverage": 2.5 * FINAL[subject], "nll": 7.0 - 9 * ndcg}  # fmt: skip
        rows.extend(
            MetricRecord(
                run_id=RUN_ID, round_number=n, subject=subject, silo=silo,
                window=window, metric=metric, value=value, users=people[silo],
            )
            for metric, value in values.items()
        )  # fmt: skip

    for silo in names if per_silo else ():
        for n in range(1, rounds + 1):
            grown = (0.112 * n / (n + 1.2)) * skill[silo] + chance.gauss(0, 0.0015)
            grown -= 0.02 if n == 3 and rounds > 3 else 0.0
            add(n, Subject.FEDERATED, silo, "validation", grown)
        for subject in subjects:
            ndcg = FINAL[subject] * skill[silo] * chance.uniform(0.95, 1.05)
            if silo == loser and subject == Subject.LOCAL_ONLY:
                ndcg = 1.06 * FINAL[Subject.FEDERATED] * skill[silo]
            add(rounds, subject, silo, "test", ndcg)
    for n in range(1, rounds + 1):
        dip = 0.02 if n == 3 and rounds > 3 else 0.0
        add(
            n,
            Subject.FEDERATED,
            POOLED_SILOS,
            "validation",
            0.112 * n / (n + 1.2) - dip,
        )
    for subject in subjects:
        add(rounds, subject, POOLED_SILOS, "test", FINAL[subject])
    return rows


def _decisions(
    rounds: int, absent: dict[int, str], quarantined: str
) -> list[DecisionRecord]:
    def decision(n: int, verdict: Verdict, sentence: str, silo: str = ""):
        return DecisionRecord(
            run_id=RUN_ID, round_number=n, verdict=verdict, silo=silo, sentence=sentence
        )

    rows = []
    if quarantined:
        broken = (
            "interactions.rating: values lie between 1 and 5, 10 to 100 rows do not."
        )
        rows.append(decision(0, Verdict.SILO_QUARANTINED, broken, quarantined))
    for n in range(1, rounds + 1):
        if n in absent:
            late = "no answer within 3600 s"
            rows.append(decision(n, Verdict.SILO_LEFT_OUT, late, absent[n]))
        if n == 3 and rounds > 3:
            worse = "NDCG@10 0.0600 is 14 % below the best 0.0700."
            rows.append(decision(n, Verdict.REJECTED, worse))
            halved = "0.00582 times 0.5 from round 4 on."
            rows.append(decision(n, Verdict.LEARNING_RATE_CUT, halved))
        else:
            rows.append(decision(n, Verdict.ACCEPTED, "NDCG@10 is a new best."))
    return rows


def _model(n: int, published: bool) -> ModelVersionRecord:
    return ModelVersionRecord(
        run_id=RUN_ID, round_number=n, name="federated-training",
        sha256=sha(f"model {n}"),
        path=f"silorec_output/models/{sha(f'model {n}')[:16]}.safetensors",
        size_bytes=1_168_000, parameters=291_904, vocabulary_sha256=sha("vocabulary"),
        parent_sha256=sha(f"model {n - 1}") if n > 1 else "", published=published,
        at="2026-03-01T08:17:00+00:00",
    )  # fmt: skip

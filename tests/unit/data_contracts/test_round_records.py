"""One round -> rows; and rows whose keys tell them apart."""

import typing
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from data_contracts.errors import FailureReason
from data_contracts.records import (
    KEYS,
    DecisionRecord,
    MetricRecord,
    ParticipantRecord,
    PhaseRecord,
    Record,
    RoundRecord,
    Verdict,
)
from data_contracts.round_outcome import RoundOutcome, TrainingReceipt
from data_contracts.secure_sum import PhaseAccount, SecureSum
from data_contracts.workspace import SiloFailure, SiloReplies

NOT_FINITE = SiloFailure("south", FailureReason.NOT_FINITE, "the loss was no number")
DIED = SiloFailure("west", FailureReason.DIED, "the silo's process is gone")
LATE = SiloFailure("east", FailureReason.TIMED_OUT, "reveal took longer than 9 s")


PHASE = PhaseAccount(
    phase="masked input", asked=3, answered=2, bytes_up=200, seconds=0.5
)


def receipt(silo: str) -> TrainingReceipt:
    return TrainingReceipt(f"commitment of {silo}", 2.5, "code")


@pytest.fixture(scope="module")
def outcome() -> RoundOutcome:
    """North is well, south never trained, west never uploaded, east never revealed."""
    return RoundOutcome(
        run_id="run",
        round_number=3,
        at="2026-01-01T00:00:00+00:00",
        config_hash="config",
        cohort=("north", "south", "west", "east"),
        snapshots={silo: f"data of {silo}" for silo in ("north", "south", "west")},
        trained=SiloReplies(
            {s: receipt(s) for s in ("north", "west", "east")},
            {"south": NOT_FINITE},
        ),
        summed=SecureSum(
            total=np.zeros(3, np.int64),
            contributors=("north", "east"),
            dropped={"west": DIED},
            faults={"east": LATE},
            mode="masked",
            bytes_up={"north": 100, "east": 100, "west": 7},
            bytes_down=1000,
            commitments={},
            phases=(PHASE,),
        ),
        learning_rate=0.01,
        train_loss=6.5,
        update_norm=1.25,
        clipped_coordinates=6,
        noise_multiplier=0.7,
        seconds={"train": 1.0, "aggregate": 2.0, "evaluate": 3.0, "round": 7.0},
        model_bytes=50,
        metrics=(
            MetricRecord(
                run_id="run", round_number=3, subject="federated", silo="all silos",
                window="validation", metric="ndcg", value=0.1, users=9,
            ),
        ),
        decisions=(
            DecisionRecord(
                run_id="run", round_number=3, verdict="accepted", silo="",
                sentence="better",
            ),
        ),
    )  # fmt: skip


def rows(outcome: RoundOutcome, kind: type) -> list:
    return [row for row in outcome.records("model") if isinstance(row, kind)]


def test_the_round_row_adds_up(outcome):
    (row,) = rows(outcome, RoundRecord)
    assert (row.contributors, row.dropped) == (2, 2)
    assert row.clipped_coordinates == 6
    assert row.noise_multiplier == 0.7
    assert row.bytes_up == 207
    assert row.bytes_down == 1000 + 4 * 50
    assert (row.train_seconds, row.round_seconds) == (1.0, 7.0)


def test_every_phase_of_the_sum_has_a_row(outcome):
    (row,) = rows(outcome, PhaseRecord)
    assert (row.run_id, row.round_number) == ("run", 3)
    assert (
        PhaseAccount(**{f.name: getattr(row, f.name) for f in fields(PHASE)}) == PHASE
    )


def test_every_member_of_the_cohort_has_a_row_that_says_how_it_fared(outcome):
    told = {row.silo: row for row in rows(outcome, ParticipantRecord)}
    assert list(told) == ["north", "south", "west", "east"]
    assert {silo for silo, row in told.items() if row.contributed} == {"north", "east"}
    assert told["north"].reason == told["east"].reason == ""
    assert told["south"].reason == "update was not finite: the loss was no number"
    assert told["west"].reason == "process died: the silo's process is gone"


def test_a_silo_that_never_trained_has_no_commitment_but_its_data_is_on_record(outcome):
    told = {row.silo: row for row in rows(outcome, ParticipantRecord)}
    assert told["south"].update_commitment == told["south"].code_hash == ""
    assert told["south"].data_snapshot_hash == "data of south"
    assert told["west"].update_commitment == "commitment of west"
    assert (told["west"].bytes_sent, told["south"].bytes_sent) == (7, 0)


def test_setbacks_become_decisions_beside_those_of_the_round(outcome):
    told = {
        (row.verdict, row.silo): row.sentence for row in rows(outcome, DecisionRecord)
    }
    assert told == {
        ("accepted", ""): "better",
        (Verdict.SILO_LEFT_OUT, "south"): f"{NOT_FINITE.reason}: {NOT_FINITE.sentence}",
        (Verdict.SILO_LEFT_OUT, "west"): f"{DIED.reason}: {DIED.sentence}",
        (Verdict.SILO_FAULTY, "east"): f"{LATE.reason}: {LATE.sentence}",
    }


def test_what_a_defence_did_to_an_update_is_a_decision_on_its_silo(outcome):
    guarded = replace(outcome, remarks={"north": "its update was scaled by 0.1"})
    (told,) = (
        row
        for row in rows(guarded, DecisionRecord)
        if row.verdict == Verdict.UPDATE_SET_APART
    )
    assert (told.silo, told.round_number) == ("north", 3)
    assert told.sentence == "its update was scaled by 0.1"


def test_no_two_rows_of_a_round_share_a_key(outcome):
    keys = Counter(
        (type(row), *(getattr(row, name) for name in KEYS[type(row)]))
        for row in outcome.records("model")
    )
    assert max(keys.values()) == 1


@pytest.mark.parametrize("record", typing.get_args(Record))
def test_a_record_is_flat_frozen_and_has_a_key(record):
    hints = typing.get_type_hints(record)
    assert set(hints.values()) <= {str, int, float, bool}
    assert set(KEYS[record]) <= {field.name for field in fields(record)}
    assert record.__dataclass_params__.frozen


def test_every_record_type_has_a_key_and_no_other_type():
    assert set(KEYS) == set(typing.get_args(Record))

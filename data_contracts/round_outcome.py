"""Everything one round did, on its way into the lineage tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from data_contracts.records import (
    DecisionRecord,
    MetricRecord,
    ParticipantRecord,
    PhaseRecord,
    Record,
    RoundRecord,
    Verdict,
)
from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import SiloFailure, SiloReplies


@dataclass(frozen=True)
class TrainingReceipt:
    """What a silo says of its training; no figure of its data.

    Attributes:
        update_commitment: salted SHA-256 of the encoded update.
        train_seconds: wall time of the training alone.
        code_hash: hash of the code that the silo ran.
    """

    update_commitment: str
    train_seconds: float
    code_hash: str


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """One finished round, as the flow holds it.

    Attributes:
        cohort: every silo that was asked to train.
        snapshots: silo -> hash of the data it trained on.
        trained: receipts and failures of local training.
        summed: the secure sum of the updates.
        clipped_coordinates: how many coordinates hit the clip bound, over all silos.
        noise_multiplier: over the clip norm, realised; 0: not private.
        seconds: wall seconds of train, aggregate, evaluate, and the whole round.
        model_bytes: size of the model that was sent to each silo.
        remarks: silo -> what a defence did to the update it is in.
    """

    run_id: str
    round_number: int
    at: str
    config_hash: str
    cohort: tuple[str, ...]
    snapshots: Mapping[str, str]
    trained: SiloReplies[TrainingReceipt]
    summed: SecureSum
    learning_rate: float
    train_loss: float
    update_norm: float
    clipped_coordinates: int
    noise_multiplier: float
    seconds: Mapping[str, float]
    model_bytes: int
    metrics: tuple[MetricRecord, ...]
    decisions: tuple[DecisionRecord, ...]
    remarks: Mapping[str, str] = field(default_factory=dict)

    def failures(self) -> dict[str, SiloFailure]:
        """Silos that did not contribute, and why."""
        return {**self.trained.failures, **self.summed.dropped}

    def records(self, model_sha256: str) -> tuple[Record, ...]:
        """All rows of this round, which left the model with this hash behind."""
        return (
            self._round(model_sha256),
            *(self._participant(silo) for silo in self.cohort),
            *(
                PhaseRecord(
                    run_id=self.run_id, round_number=self.round_number, **asdict(phase)
                )
                for phase in self.summed.phases
            ),
            *self.metrics,
            *self.decisions,
            *(
                self._setback(Verdict.SILO_LEFT_OUT, failure)
                for failure in self.failures().values()
            ),
            *(
                self._setback(Verdict.SILO_FAULTY, failure)
                for failure in self.summed.faults.values()
            ),
            *(
                self._decision(Verdict.UPDATE_SET_APART, silo, sentence)
                for silo, sentence in self.remarks.items()
            ),
        )

    def _round(self, model_sha256: str) -> RoundRecord:
        return RoundRecord(
            run_id=self.run_id,
            round_number=self.round_number,
            at=self.at,
            contributors=len(self.summed.contributors),
            dropped=len(self.failures()),
            aggregation_mode=self.summed.mode,
            learning_rate=self.learning_rate,
            train_loss=self.train_loss,
            clipped_coordinates=self.clipped_coordinates,
            update_norm=self.update_norm,
            noise_multiplier=self.noise_multiplier,
            model_sha256=model_sha256,
            train_seconds=self.seconds["train"],
            aggregate_seconds=self.seconds["aggregate"],
            evaluate_seconds=self.seconds["evaluate"],
            round_seconds=self.seconds["round"],
            bytes_up=sum(self.summed.bytes_up.values()),
            bytes_down=self.summed.bytes_down + self.model_bytes * len(self.cohort),
        )

    def _participant(self, silo: str) -> ParticipantRecord:
        receipt = self.trained.values.get(silo)
        failure = self.failures().get(silo)
        return ParticipantRecord(
            run_id=self.run_id,
            round_number=self.round_number,
            silo=silo,
            contributed=silo in self.summed.contributors,
            reason=f"{failure.reason}: {failure.sentence}" if failure else "",
            data_snapshot_hash=self.snapshots.get(silo, ""),
            update_commitment=receipt.update_commitment if receipt else "",
            code_hash=receipt.code_hash if receipt else "",
            config_hash=self.config_hash,
            train_seconds=receipt.train_seconds if receipt else 0.0,
            bytes_sent=self.summed.bytes_up.get(silo, 0),
        )

    def _setback(self, verdict: Verdict, failure: SiloFailure) -> DecisionRecord:
        sentence = f"{failure.reason}: {failure.sentence}"
        return self._decision(verdict, failure.silo, sentence)

    def _decision(self, verdict: Verdict, silo: str, sentence: str) -> DecisionRecord:
        return DecisionRecord(
            run_id=self.run_id,
            round_number=self.round_number,
            verdict=verdict.value,
            silo=silo,
            sentence=sentence,
        )

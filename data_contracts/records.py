"""What a run leaves behind: one frozen dataclass per lineage table.

A field is a column. `KEYS` names the columns that identify a row: writing the same
key again must be a no-op. Values are numbers, hashes, names and enums; nothing
here may hold a row, a user id or a sample value of a silo.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    PAUSED = "paused"


class Verdict(StrEnum):
    """What was decided after a round."""

    ACCEPTED = "accepted"
    REJECTED = "rejected, previous model kept"
    STOPPED_EARLY = "stopped early"
    LEARNING_RATE_CUT = "learning rate cut"
    SILO_QUARANTINED = "silo quarantined"
    SILO_LEFT_OUT = "silo left out of the round"
    SILO_RETURNED = "silo is back"
    SILO_FAULTY = "silo failed after contributing"
    UPDATE_SET_APART = "update set apart"


class Subject(StrEnum):
    """Whose model a metric describes."""

    FEDERATED = "federated"
    LOCAL_ONLY = "local only"
    POOLED = "pooled"
    POPULARITY = "popularity"
    MARKOV = "markov chain"
    ITEM_KNN = "ItemKNN"
    EASE = "EASE"
    STARTED_FROM = "started from"


POOLED_SILOS = "all silos"


class Stage(StrEnum):
    """Where a published model stands in its federation."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    REJECTED = "rejected"
    RETIRED = "retired"


class RetrainingOutcome(StrEnum):
    """How a retraining ended."""

    NOTHING_NEW = "nothing new"
    REFUSED_BY_CONTRACT = "refused by the data contract"
    REFUSED_BY_BUDGET = "refused by the privacy budget"
    REFUSED_BY_GATE = "refused by the gate"
    REFUSED_BY_PERSON = "refused by a person"
    AWAITS_APPROVAL = "awaits approval"
    PROMOTED = "promoted"


class Decider(StrEnum):
    """Who moved a model to its stage."""

    POLICY = "policy"
    PERSON = "person"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run's start or end; the row with the highest `sequence` is current."""

    run_id: str
    sequence: int
    name: str
    status: str
    at: str
    config_hash: str
    config_json: str
    code_hash: str
    silorec_version: str
    flow_run_id: str
    silos: int
    message: str


@dataclass(frozen=True, kw_only=True)
class ContractRecord:
    """Result of one expectation on one table of one silo; counts are coarse."""

    run_id: str
    silo: str
    suite: str
    suite_version: str
    table: str
    column: str
    expectation: str
    success: bool
    unexpected_count: str


@dataclass(frozen=True, kw_only=True)
class ParticipantRecord:
    """One silo in one round: whether it contributed, and its commitments."""

    run_id: str
    round_number: int
    silo: str
    contributed: bool
    reason: str
    data_snapshot_hash: str
    update_commitment: str
    code_hash: str
    config_hash: str
    train_seconds: float
    bytes_sent: int


@dataclass(frozen=True, kw_only=True)
class PhaseRecord:
    """One phase of a round's secure aggregation; `PhaseAccount` says what is what."""

    run_id: str
    round_number: int
    phase: str
    asked: int
    answered: int
    bytes_up: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One finished round; its row is the commit point of the round.

    `noise_multiplier` is 0 in a round that is not private; with joint noise, that of
    the shares that were in the sum, at least what ledgers charged.
    """

    run_id: str
    round_number: int
    at: str
    contributors: int
    dropped: int
    aggregation_mode: str
    learning_rate: float
    train_loss: float
    clipped_coordinates: int
    update_norm: float
    noise_multiplier: float
    model_sha256: str
    train_seconds: float
    aggregate_seconds: float
    evaluate_seconds: float
    round_seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """One metric of one model on the users of one silo (or all)."""

    run_id: str
    round_number: int
    subject: str
    silo: str
    window: str
    metric: str
    value: float
    users: int


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision and the sentence that explains it."""

    run_id: str
    round_number: int
    verdict: str
    silo: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class ModelVersionRecord:
    """A model file: where it lies, its hash, and the round that made it."""

    run_id: str
    round_number: int
    name: str
    sha256: str
    path: str
    size_bytes: int
    parameters: int
    vocabulary_sha256: str
    parent_sha256: str
    published: bool
    at: str


@dataclass(frozen=True, kw_only=True)
class PrivacyRecord:
    """One silo's privacy ledger, as it stood when a run was charged or settled.

    `ledger_head` mirrors the ledger: whoever shortens or rewrites it is found out.
    """

    run_id: str
    silo: str
    entry: str
    at: str
    mode: str
    metrics: str
    epsilon: float
    budget: float
    delta: float
    period: str
    noise_multiplier: float
    sampling_probability: float
    steps: int
    ledger_entries: int
    ledger_head: str


@dataclass(frozen=True, kw_only=True)
class PrivacyAuditRecord:
    """What one family of canaries told in a privacy audit; `run_id` is the audit's.

    `control_` columns are of the same training without noise.
    """

    run_id: str
    family: str
    at: str
    model_sha256: str
    trainer: str
    claimed_epsilon: float
    delta: float
    confidence: float
    noise_multiplier: float
    sampling_probability: float
    steps: int
    canaries: int
    one_run_bound: float
    f_dp_bound: float
    ceiling: float
    estimate: float
    estimate_low: float
    estimate_high: float
    control_bound: float
    control_estimate: float
    verdict: str
    sentence: str
    seconds: float
    code_hash: str


@dataclass(frozen=True, kw_only=True)
class ModelStageRecord:
    """A published model reached a stage; of one model, the highest `sequence` counts.

    `federation` is the name of the runs that trained it. Each has one champion at most.
    """

    federation: str
    sequence: int
    run_id: str
    model_sha256: str
    stage: str
    decided_by: str
    sentence: str
    at: str


@dataclass(frozen=True, kw_only=True)
class RetrainingRecord:
    """A retraining and how it ended; `run_id` is its own.

    Hashes are empty where there was no champion, or nothing was trained.
    """

    run_id: str
    federation: str
    at: str
    outcome: str
    champion_sha256: str
    challenger_sha256: str
    new_silos: int
    quarantined_silos: int
    sentence: str


Record = (
    RunRecord
    | ContractRecord
    | ParticipantRecord
    | PhaseRecord
    | RoundRecord
    | MetricRecord
    | DecisionRecord
    | ModelVersionRecord
    | PrivacyRecord
    | PrivacyAuditRecord
    | ModelStageRecord
    | RetrainingRecord
)


KEYS: dict[type, tuple[str, ...]] = {
    RunRecord: ("run_id", "sequence"),
    ContractRecord: ("run_id", "silo", "table", "column", "expectation"),
    ParticipantRecord: ("run_id", "round_number", "silo"),
    PhaseRecord: ("run_id", "round_number", "phase"),
    RoundRecord: ("run_id", "round_number"),
    MetricRecord: ("run_id", "round_number", "subject", "silo", "window", "metric"),
    DecisionRecord: ("run_id", "round_number", "verdict", "silo"),
    ModelVersionRecord: ("run_id", "round_number", "published"),
    PrivacyRecord: ("run_id", "silo", "entry"),
    PrivacyAuditRecord: ("run_id", "family"),
    ModelStageRecord: ("federation", "sequence"),
    RetrainingRecord: ("at", "run_id"),
}


@dataclass(frozen=True)
class RunHistory:
    """Everything the lineage store knows of one run; the report is made of it."""

    run: RunRecord
    contracts: tuple[ContractRecord, ...]
    rounds: tuple[RoundRecord, ...]
    participants: tuple[ParticipantRecord, ...]
    phases: tuple[PhaseRecord, ...]
    metrics: tuple[MetricRecord, ...]
    decisions: tuple[DecisionRecord, ...]
    models: tuple[ModelVersionRecord, ...]
    privacy: tuple[PrivacyRecord, ...] = ()

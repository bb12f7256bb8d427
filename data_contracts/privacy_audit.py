"""What a privacy audit found: the agreement between who audits, records and draws."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from data_contracts.records import PrivacyAuditRecord


class AuditVerdict(StrEnum):
    """What an audit says of a claimed epsilon."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"


class CanaryFamily(StrEnum):
    """A kind of canary and how it is scored."""

    DIRAC = "Dirac"
    DATA_LOSS = "data, by loss"
    DATA_ROW = "data, by row"


@dataclass(frozen=True)
class FamilyFinding:
    """What the canaries of one family told.

    Attributes:
        family: which.
        canaries: how many there were.
        one_run: certified lower bound of epsilon.
        f_dp: lower bound for claims of Gaussian privacy.
        ceiling: of the larger bound, had every guess been right.
        estimate: epsilon of fitted normals, with the ends of its interval.
        scores_joined: of the canaries that joined.
        scores_out: of those that stayed out.
    """

    family: CanaryFamily
    canaries: int
    one_run: float
    f_dp: float
    ceiling: float
    estimate: float
    estimate_low: float
    estimate_high: float
    scores_joined: tuple[float, ...]
    scores_out: tuple[float, ...]

    @property
    def bound(self) -> float:
        """The larger bound."""
        return max(self.one_run, self.f_dp)


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """One audit: the claim, what was found, and whether it could have found more.

    Attributes:
        audit_id: its name in tables and files.
        at: when it ended, ISO 8601.
        model_sha256: of the model version it was made for; empty if for none.
        trainer: name of the trainer.
        claimed_epsilon: what the trainer claims.
        delta: of the claim.
        confidence: with which all bounds of the audit hold together.
        noise_multiplier: of the audited training.
        sampling_probability: of the audited training.
        steps: of the audited training.
        findings: one per family.
        control: the same with the noise off.
        verdict: what it says of the claim.
        sentence: why.
        seconds: wall time.
    """

    audit_id: str
    at: str
    model_sha256: str
    trainer: str
    claimed_epsilon: float
    delta: float
    confidence: float
    noise_multiplier: float
    sampling_probability: float
    steps: int
    findings: tuple[FamilyFinding, ...]
    control: tuple[FamilyFinding, ...]
    verdict: AuditVerdict
    sentence: str
    seconds: float

    def finding(self, family: CanaryFamily) -> FamilyFinding:
        """The finding of one family."""
        return next(found for found in self.findings if found.family is family)

    def control_of(self, family: CanaryFamily) -> FamilyFinding:
        """The finding of one family with the noise off."""
        return next(found for found in self.control if found.family is family)

    @property
    def bound(self) -> float:
        """The largest bound of all families."""
        return max(found.bound for found in self.findings)

    def records(self, code_hash: str) -> tuple[PrivacyAuditRecord, ...]:
        """One row per family, for the lineage."""
        return tuple(
            PrivacyAuditRecord(
                run_id=self.audit_id,
                family=found.family.value,
                at=self.at,
                model_sha256=self.model_sha256,
                trainer=self.trainer,
                claimed_epsilon=self.claimed_epsilon,
                delta=self.delta,
                confidence=self.confidence,
                noise_multiplier=self.noise_multiplier,
                sampling_probability=self.sampling_probability,
                steps=self.steps,
                canaries=found.canaries,
                one_run_bound=found.one_run,
                f_dp_bound=found.f_dp,
                ceiling=found.ceiling,
                estimate=found.estimate,
                estimate_low=found.estimate_low,
                estimate_high=found.estimate_high,
                control_bound=self.control_of(found.family).bound,
                control_estimate=self.control_of(found.family).estimate,
                verdict=self.verdict.value,
                sentence=self.sentence,
                seconds=self.seconds,
                code_hash=code_hash,
            )
            for found in self.findings
        )

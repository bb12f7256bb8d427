"""The error tree: everything silorec raises on purpose.

Two branches, after h11 and python-tuf: `UsageError` is the caller's mistake (a
config, a flag, a file), `SiloError` is something that happened at a silo. Every
message is one sentence that says what, where, the allowed range and what to do,
and holds no data value, so it may cross from a silo to the coordinator.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class SilorecError(Exception):
    """Root of the tree; `message` is safe to print, log and send."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,)


class UsageError(SilorecError):
    """The caller's mistake: fix the input and run again."""


class ConfigError(UsageError):
    """A run configuration that cannot be used."""


class DataSourceError(UsageError):
    """A data set or table that cannot be fetched, read or mapped."""


class NotRecordedError(UsageError):
    """A run, model, silo or snapshot that the lineage store cannot tell."""


class ResumeError(UsageError):
    """An interrupted run that cannot be continued as it stands."""


class LineageError(SilorecError):
    """The lineage store could not be read or written."""


class QuorumLostError(SilorecError):
    """Too few silos are left to go on without weakening what was promised.

    Attributes:
        waits_for: silos whose process died or hangs; with them it could go on.
        run_id: the run, once it is known.
    """

    waits_for: tuple[str, ...] = ()
    run_id: str = ""


class ServerLostError(SilorecError):
    """The Prefect server of a run does not answer any more."""


class ServingError(SilorecError):
    """A service that cannot start, or that does not answer any more."""


class AuditFailedError(SilorecError):
    """A privacy audit refuted what a trainer claims."""


class CheckFailedError(SilorecError):
    """What was asked to be checked does not hold; the findings are told before."""


class FailureReason(StrEnum):
    """Why a silo did not contribute; the value is what records and reports show."""

    CONTRACT_FAILED = "data contract failed"
    BAD_INPUT = "input could not be used"
    NOT_FINITE = "update was not finite"
    TIMED_OUT = "missed the deadline"
    DIED = "process died"
    CRASHED = "step crashed"
    TRANSIENT = "short of memory, disk or network"
    DROPPED_OUT = "dropped out of secure aggregation"
    BUDGET_SPENT = "privacy budget does not allow it"


class SiloError(SilorecError):
    """Something went wrong inside a silo; `reason` says what kind of thing."""

    reason = FailureReason.CRASHED


class SiloInputError(SiloError):
    """The silo's own tables could not be read or mapped."""

    reason = FailureReason.BAD_INPUT


class ContractFailedError(SiloError):
    """The silo's tables break the data contract."""

    reason = FailureReason.CONTRACT_FAILED


class NotFiniteError(SiloError):
    """Local training produced NaN or infinity; nothing was sent."""

    reason = FailureReason.NOT_FINITE


class ProtocolError(SiloError):
    """The other party of secure aggregation broke the protocol."""

    reason = FailureReason.DROPPED_OUT


class PrivacyBudgetError(SiloError):
    """The silo's privacy budget does not allow what was asked for."""

    reason = FailureReason.BUDGET_SPENT

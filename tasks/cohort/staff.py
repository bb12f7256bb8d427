"""The silos' processes: started, watched, and started again when they die or hang.

A process that is new knows nothing of the run. What silos must hold for all of it
(their tables, their sequences, what they charged) was put there by *lasting* steps;
these are done again, in order, before the silo is asked for anything else.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    RayActorError,
    RayError,
)

from data_contracts.errors import ConfigError, FailureReason
from data_contracts.progress import announce
from data_contracts.settings.cohort import CohortConfig, ComputeConfig, SiloConfig
from data_contracts.workspace import SiloFailure, SiloStep
from tasks.cohort.deadlines import Deadlines
from tasks.cohort.host import SiloHost

Handle = ActorHandle[SiloHost]
StartHost = Callable[[SiloConfig], Handle]

START_SECONDS = 180.0
"""In which a silo's process must be up: Ray may have to start a worker first."""

ANSWER_SECONDS = 10.0
"""In which a process that is not stuck says whether it is busy."""

BACK_OFF_SECONDS = 1.0
"""Before the first retry of a step; twice as long before each further one."""

MAY_PASS = frozenset({FailureReason.DIED, FailureReason.TRANSIENT})


@dataclass(frozen=True)
class LastingStep:
    """A step whose effect a silo needs for the rest of the run."""

    step: SiloStep[Any]
    args: tuple[Any, ...]
    reply: Any


@dataclass
class Staff:
    """All processes of a run.

    Attributes:
        silos: name -> who it is.
        start: makes a process; it need not be up yet.
        policy: what is done about silos that fail.
        hosts: name -> its process.
        away: silos whose process died, or hangs, and why.
        returned: those that were brought back, and why they were away.
        restarts: name -> how often its process was started again.
    """

    silos: Mapping[str, SiloConfig]
    start: StartHost
    policy: CohortConfig
    hosts: dict[str, Handle] = field(default_factory=dict)
    away: dict[str, SiloFailure] = field(default_factory=dict)
    returned: dict[str, SiloFailure] = field(default_factory=dict)
    restarts: Counter[str] = field(default_factory=Counter)
    _lasting: dict[str, dict[str, LastingStep]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deadlines = Deadlines.of(self.policy)

    def open(self) -> None:
        """Start everybody and wait until all are up.

        Raises:
            ConfigError: a silo asks for resources that no node offers.
        """
        self.hosts |= {name: self.start(silo) for name, silo in self.silos.items()}
        give_up = time.monotonic() + START_SECONDS
        for name, host in self.hosts.items():
            try:
                left = max(0.0, give_up - time.monotonic())
                ray.get(host.code_hash.remote(), timeout=left)
            except GetTimeoutError:
                want = self.silos[name].compute or ComputeConfig()
                raise ConfigError(
                    f"silo {name} could not start in {START_SECONDS:g} s: no Ray node "
                    f"offers {want.num_cpus:g} CPUs, {want.num_gpus:g} GPUs and "
                    f"{want.custom_resources or 'no custom resources'} at once; lower "
                    "its compute section or add a node"
                ) from None

    def close(self) -> None:
        """End all processes."""
        for host in self.hosts.values():
            ray.kill(host)

    def remember(
        self, silo: str, step: SiloStep[Any], args: tuple[Any, ...], reply: Any
    ) -> None:
        """The silo has done a lasting step; one of the same name is replaced."""
        done = LastingStep(step, args, reply)
        self._lasting.setdefault(silo, {})[step.__name__] = done

    def note(self, outcome: object, host: Handle) -> None:
        """Mark the silo as away if this is why this process of it failed."""
        if (
            isinstance(outcome, SiloFailure)
            and outcome.reason in {FailureReason.DIED, FailureReason.TIMED_OUT}
            and self.hosts[outcome.silo] is host
        ):
            self.away[outcome.silo] = outcome

    def bring_back(self, silos: Iterable[str]) -> None:
        """Bring back those that are away, as far as it can be done.

        Who only was slow and is done by now is back as it is; whose process is gone or
        stuck gets a new one, `policy.restarts` times in a run.
        """
        for silo in [silo for silo in silos if silo in self.away]:
            before = self.away[silo]
            if not self._is_idle(silo) and not self._restarted(silo):
                continue
            del self.away[silo]
            self.returned[silo] = before
            announce().note(f"Silo {silo} is back ({before.reason} before).")

    def may_restart(self, silo: str) -> bool:
        """Whether its process may be started again in this run."""
        return self.restarts[silo] < self.policy.restarts

    def _is_idle(self, silo: str) -> bool:
        try:
            busy: Any = self.hosts[silo].is_busy.remote()
            return not ray.get(busy, timeout=ANSWER_SECONDS)
        except RayError:
            return False

    def _restarted(self, silo: str) -> bool:
        if not self.may_restart(silo):
            return False
        self.restarts[silo] += 1
        ray.kill(self.hosts[silo])
        self.hosts[silo] = self.start(self.silos[silo])
        try:
            ray.get(self.hosts[silo].code_hash.remote(), timeout=START_SECONDS)
        except RayError:
            return False
        return all(
            self._done_again(silo, lasting)
            for lasting in self._lasting.get(silo, {}).values()
        )

    def _done_again(self, silo: str, lasting: LastingStep) -> bool:
        """Whether it succeeds, and says what it said when the run began."""
        answer: Any = self.hosts[silo].run.remote(lasting.step, *lasting.args)
        outcome = outcome_of(silo, answer, self.policy.deadline_seconds)
        if isinstance(outcome, SiloFailure):
            self.away[silo] = outcome
            return False
        if isinstance(lasting.reply, str) and outcome != lasting.reply:
            sentence = "its data is not what it was when the run began"
            self.away[silo] = SiloFailure(silo, FailureReason.BAD_INPUT, sentence)
            return False
        return True


def outcome_of(silo: str, ref: Any, seconds: float | None = None) -> Any:
    """The value behind a reference; Ray's own errors become failures."""
    try:
        return ray.get(ref, timeout=seconds)
    except GetTimeoutError:
        return SiloFailure(
            silo, FailureReason.TIMED_OUT, f"it took longer than {seconds:g} s"
        )
    except ActorUnavailableError:
        return SiloFailure(
            silo, FailureReason.TRANSIENT, "its process cannot be reached just now"
        )
    except RayActorError:
        return SiloFailure(silo, FailureReason.DIED, "the silo's process is gone")
    except RayError as error:
        return SiloFailure(silo, FailureReason.CRASHED, type(error).__name__)

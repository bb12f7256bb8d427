"""Ray: a silo host in an actor of its own, and the cohort of all actors."""

from __future__ import annotations

import gc
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import ray

from data_contracts.errors import ConfigError, FailureReason, QuorumLostError
from data_contracts.progress import announce
from data_contracts.run_config import ClusterConfig
from data_contracts.settings.cohort import CohortConfig, ComputeConfig, SiloConfig
from data_contracts.workspace import SiloFailure, SiloReplies, SiloStep
from tasks.cohort.cluster import QUIET, connect
from tasks.cohort.deadlines import Work
from tasks.cohort.host import SiloHost
from tasks.cohort.staff import (
    BACK_OFF_SECONDS,
    MAY_PASS,
    Handle,
    Staff,
    outcome_of,
)

T = TypeVar("T")
RemoteSiloHost = ray.remote(SiloHost)

POLL_SECONDS = 0.5
"""Between two looks at how far silos are."""


@dataclass(frozen=True)
class _Asked:
    """A silo that works on a step, since when and until when."""

    silo: str
    host: Handle
    since: float
    seconds: float


_Working = dict[Any, _Asked]
"""Reference to the answer -> who was asked."""


class RayCohort:
    """Implements `data_contracts.workspace.Cohort` over Ray actors."""

    def __init__(
        self, run_id: str, silos: tuple[str, ...], at_once: int, staff: Staff
    ) -> None:
        self.run_id = run_id
        self._silos = silos
        self._at_once = at_once
        self._staff = staff

    @property
    def silos(self) -> tuple[str, ...]:
        """Names of the members, in a fixed order."""
        return self._silos

    @property
    def at_once(self) -> int:
        """Silos that work at the same time."""
        return self._at_once

    @property
    def restarts(self) -> int:
        """How often a process was started again, of anybody."""
        return self._staff.restarts.total()

    def only(self, silos: Iterable[str]) -> RayCohort:
        """The same actors, narrowed to some members."""
        wanted = set(silos)
        members = tuple(silo for silo in self._silos if silo in wanted)
        return RayCohort(self.run_id, members, self._at_once, self._staff)

    def beside(self, helper: str) -> RayCohort:
        """Somebody who was opened with the silos and is no member."""
        if helper not in self._staff.hosts:
            raise ConfigError(f"this cohort was opened without the {helper}")
        return RayCohort(self.run_id, (helper,), 1, self._staff)

    def broadcast(self, value: T) -> T:
        """Put `value` into the object store once; the reference stands for it."""
        return cast(T, ray.put(value))

    def bring_back(self) -> Mapping[str, SiloFailure]:
        """Start silos again whose process died or hangs; see `Cohort.bring_back`."""
        self._staff.bring_back(self._staff.hosts)
        returned, self._staff.returned = self._staff.returned, {}
        return returned

    def call(
        self,
        step: SiloStep[T],
        *args: Any,
        per_silo: Mapping[str, tuple[Any, ...]] | None = None,
        deadline_seconds: float | None = None,
        on_reply: Callable[[str, T], None] | None = None,
        meanwhile: bool = False,
        lasting: bool = False,
        retry: bool = False,
        work: str = "",
    ) -> SiloReplies[T]:
        """Run `step` at every member at once; see `Cohort.call`."""
        called = [s for s in self._silos if per_silo is None or s in per_silo]

        def arguments(silo: str) -> tuple[Any, ...]:
            return (*args, *(() if per_silo is None else per_silo[silo]))

        def start(silo: str, host: Handle) -> Any:
            run: Any = host.run_meanwhile if meanwhile else host.run
            return run.remote(step, *arguments(silo))

        outcomes: dict[str, Any] = {}
        ask = partial(self._arriving, start, (step.__name__, work), deadline_seconds)
        for silo, outcome in self._with_retries(ask, called, retry):
            outcomes[silo] = outcome
            if _failed(outcome):
                continue
            if lasting:
                self._staff.remember(silo, step, arguments(silo), outcome)
            if on_reply is not None:
                # Not kept: it may be as large as a model, and so may everybody's.
                on_reply(silo, outcomes.pop(silo))
        answered = [silo for silo in called if silo in outcomes]
        return SiloReplies(
            {s: outcomes[s] for s in answered if not _failed(outcomes[s])},
            {s: outcomes[s] for s in answered if _failed(outcomes[s])},
        )

    def _with_retries(
        self,
        ask: Callable[[list[str]], Iterator[tuple[str, Any]]],
        silos: list[str],
        retry: bool,
    ) -> Iterator[tuple[str, Any]]:
        """Outcomes as they arrive; the last one of a silo counts."""
        for attempt in range(self._staff.policy.retries + 1 if retry else 1):
            if attempt:
                time.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
                self._staff.bring_back(silos)
            again = []
            for silo, outcome in ask([s for s in silos if s not in self._staff.away]):
                if _failed(outcome) and outcome.reason in MAY_PASS:
                    again.append(silo)
                yield silo, outcome
            absent = [silo for silo in silos if silo in self._staff.away]
            yield from ((silo, self._staff.away[silo]) for silo in absent)
            # Who may not be started again is not worth a pause in every step.
            hopeful = [silo for silo in absent if self._staff.may_restart(silo)]
            silos = [*hopeful, *(silo for silo in again if silo not in absent)]
            if not silos:
                return

    def _arriving(
        self,
        start: Callable[[str, Handle], Any],
        work: Work,
        deadline_seconds: float | None,
        silos: list[str],
    ) -> Iterator[tuple[str, Any]]:
        """(silo, value or `SiloFailure`) as they arrive; `at_once` silos work."""
        deadlines = self._staff.deadlines
        waiting, working = deque(silos), _Working()
        arrived: list[tuple[str, Any]] = []
        while waiting or working or arrived:
            while waiting and len(working) < self._at_once:
                silo = waiting.popleft()
                seconds = deadlines.seconds(silo, work)
                seconds = min(seconds, deadline_seconds or seconds)
                host, now = self._staff.hosts[silo], time.monotonic()
                working[start(silo, host)] = _Asked(silo, host, now, seconds)
            # Only now, so that nobody's turn waits for what is done with an answer.
            yield from arrived
            ended = _answered(working)
            if working and not ended:
                self._show_progress([asked.silo for asked in working.values()])
            arrived = []
            for asked, outcome in (*ended, *_too_late(working, work[0])):
                if _failed(outcome):
                    self._staff.note(outcome, asked.host)
                else:
                    took = time.monotonic() - asked.since
                    deadlines.learn(asked.silo, work, took)
                arrived.append((asked.silo, outcome))

    def _show_progress(self, silos: list[str]) -> None:
        asked: dict[Any, str] = {
            self._staff.hosts[silo].progress.remote(): silo for silo in silos
        }
        refs = list(asked)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0.2)
        answered: dict[str, tuple[float, str]] = {}
        for ref in ready:
            silo = asked[ref]
            if not _failed(outcome := outcome_of(silo, ref)):
                answered[silo] = outcome
        announce().silos(answered)


def _answered(working: _Working) -> list[tuple[_Asked, Any]]:
    """Silos that answer within moments, with their outcomes; no longer working."""
    if not working:
        return []
    first = min(asked.since + asked.seconds for asked in working.values())
    seconds = max(0.0, min(POLL_SECONDS, first - time.monotonic()))
    ready, _ = ray.wait(list(working), num_returns=1, timeout=seconds)
    answered = [(working.pop(ref), ref) for ref in ready]
    return [(asked, outcome_of(asked.silo, ref)) for asked, ref in answered]


def _too_late(working: _Working, step: str) -> list[tuple[_Asked, SiloFailure]]:
    """Silos whose time is over, with why they failed; no longer working."""
    now = time.monotonic()
    late = [ref for ref, asked in working.items() if now > asked.since + asked.seconds]
    failures = []
    for asked in map(working.pop, late):
        sentence = f"{step} took longer than {asked.seconds:g} s"
        failure = SiloFailure(asked.silo, FailureReason.TIMED_OUT, sentence)
        failures.append((asked, failure))
    return failures


def _failed(outcome: object) -> bool:
    return isinstance(outcome, SiloFailure)


@contextmanager
def ray_cohort(
    silos: Iterable[SiloConfig],
    *,
    run_id: str,
    folder: Path,
    cluster: ClusterConfig,
    policy: CohortConfig | None = None,
    helpers: Iterable[SiloConfig] = (),
) -> Iterator[RayCohort]:
    """One actor per silo, up and warm for the length of the block.

    Args:
        silos: who to start; `compute` must be filled in.
        run_id: the run they serve.
        folder: parent of the silos' own folders, as their nodes see it.
        cluster: where; without an address a local one is started, unless this
            process is already connected to one.
        policy: what is done about silos that fail; None: the defaults.
        helpers: who to start beside them.

    Raises:
        ConfigError: a silo asks for resources that no node offers.
        QuorumLostError: as the block raised it, with who was away.
    """
    silos = tuple(silos)
    everybody = (*silos, *helpers)
    started = not ray.is_initialized()
    local = connect(cluster.ray_address, everybody) if started else False
    # Silos of one small machine take turns at its cores: all at once they would fight
    # for its caches and hold their working memory all at the same time.
    usual = (os.cpu_count() or 1) if local else max(1, len(silos))
    start = partial(_host, run_id=run_id, folder=folder)
    staff = Staff({s.name: s for s in everybody}, start, policy or CohortConfig())
    try:
        staff.open()
        # What is loaded by now stays: rounds need not look for garbage in it again.
        gc.freeze()
        members = tuple(silo.name for silo in silos)
        yield RayCohort(run_id, members, cluster.silos_at_once or usual, staff)
    except QuorumLostError as lost:
        lost.waits_for = tuple(staff.away)
        raise
    finally:
        gc.unfreeze()
        staff.close()
        if started:
            ray.shutdown()


def _host(silo: SiloConfig, run_id: str, folder: Path) -> Handle:
    compute = silo.compute or ComputeConfig()
    # One heap: the actor has three threads, and a heap for each holds on to more.
    process = {"OMP_NUM_THREADS": str(compute.threads), "MALLOC_ARENA_MAX": "1"}
    # Three threads: one runs steps, one says how far they are, one exchanges keys for
    # the next sum in the meantime.
    placed = RemoteSiloHost.options(
        num_cpus=compute.num_cpus,
        num_gpus=compute.num_gpus,
        resources=compute.custom_resources or None,
        max_concurrency=3,
        runtime_env={"env_vars": QUIET | process},
    )
    return cast("Handle", placed.remote(silo, run_id, str(folder / silo.name)))

"""Ray: a silo host in an actor of its own, and the cohort of all actors."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from data_contracts.errors import ConfigError, FailureReason
from data_contracts.progress import announce
from data_contracts.run_config import ClusterConfig
from data_contracts.settings.cohort import ComputeConfig, SiloConfig
from data_contracts.workspace import SiloFailure, SiloReplies, SiloStep
from tasks.cohort.host import SiloHost

T = TypeVar("T")
RemoteSiloHost = ray.remote(SiloHost)

NOBODY: Mapping[str, ActorHandle[SiloHost]] = MappingProxyType({})
POLL_SECONDS = 0.5
START_SECONDS = 180.0
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "DO_NOT_TRACK": "1",
}


_Working = dict[Any, tuple[str, float]]
"""Reference to the answer -> (silo, when to give it up)."""


class RayCohort:
    """Implements `data_contracts.workspace.Cohort` over Ray actors."""

    def __init__(
        self,
        run_id: str,
        hosts: Mapping[str, ActorHandle[SiloHost]],
        at_once: int,
        helpers: Mapping[str, ActorHandle[SiloHost]] = NOBODY,
    ) -> None:
        self.run_id = run_id
        self._hosts = dict(hosts)
        self._at_once = at_once
        self._helpers = helpers

    @property
    def silos(self) -> tuple[str, ...]:
        """Names of the members, in a fixed order."""
        return tuple(self._hosts)

    @property
    def at_once(self) -> int:
        """Silos that work at the same time."""
        return self._at_once

    def only(self, silos: Iterable[str]) -> RayCohort:
        """The same actors, narrowed to some members."""
        wanted = set(silos)
        hosts = {s: h for s, h in self._hosts.items() if s in wanted}
        return RayCohort(self.run_id, hosts, self._at_once, self._helpers)

    def beside(self, helper: str) -> RayCohort:
        """Somebody who was opened with the silos and is no member."""
        if helper not in self._helpers:
            raise ConfigError(f"this cohort was opened without the {helper}")
        return RayCohort(self.run_id, {helper: self._helpers[helper]}, 1)

    def broadcast(self, value: T) -> T:
        """Put `value` into the object store once; the reference stands for it."""
        return cast(T, ray.put(value))

    def call(
        self,
        step: SiloStep[T],
        *args: Any,
        per_silo: Mapping[str, tuple[Any, ...]] | None = None,
        deadline_seconds: float | None = None,
        on_reply: Callable[[str, T], None] | None = None,
        meanwhile: bool = False,
    ) -> SiloReplies[T]:
        """Run `step` at every member at once; see `Cohort.call`."""
        called = [s for s in self._hosts if per_silo is None or s in per_silo]

        def start(silo: str) -> Any:
            extra = () if per_silo is None else per_silo[silo]
            host = self._hosts[silo]
            if meanwhile:
                return host.run_meanwhile.remote(step, *args, *extra)
            return host.run.remote(step, *args, *extra)

        outcomes: dict[str, Any] = {}
        for silo, outcome in self._arriving(called, start, step, deadline_seconds):
            outcomes[silo] = outcome
            if on_reply is not None and not _failed(outcome):
                on_reply(silo, outcome)
        return SiloReplies(
            {s: outcomes[s] for s in called if not _failed(outcomes[s])},
            {s: outcomes[s] for s in called if _failed(outcomes[s])},
        )

    def _arriving(
        self,
        silos: list[str],
        start: Callable[[str], Any],
        step: SiloStep[Any],
        deadline_seconds: float | None,
    ) -> Iterator[tuple[str, Any]]:
        """(silo, value or `SiloFailure`) as they arrive; `at_once` silos work."""
        waiting, working = deque(silos), _Working()
        arrived: list[tuple[str, Any]] = []
        while waiting or working or arrived:
            while waiting and len(working) < self._at_once:
                silo = waiting.popleft()
                give_up = time.monotonic() + (deadline_seconds or float("inf"))
                working[start(silo)] = silo, give_up
            # Only now, so that nobody's turn waits for what is done with an answer.
            yield from arrived
            arrived = _answered(working)
            if working and not arrived:
                self._show_progress([silo for silo, _ in working.values()])
            arrived += _too_late(working, step.__name__, deadline_seconds)

    def _show_progress(self, silos: list[str]) -> None:
        asked: dict[Any, str] = {
            self._hosts[silo].progress.remote(): silo for silo in silos
        }
        refs = list(asked)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0.2)
        answered: dict[str, tuple[float, str]] = {}
        for ref in ready:
            silo = asked[ref]
            if not _failed(outcome := _outcome(silo, ref)):
                answered[silo] = outcome
        announce().silos(answered)


def _answered(working: _Working) -> list[tuple[str, Any]]:
    """Silos that answer within moments, with their outcomes; no longer working."""
    if not working:
        return []
    first = min(give_up for _, give_up in working.values())
    seconds = max(0.0, min(POLL_SECONDS, first - time.monotonic()))
    ready, _ = ray.wait(list(working), num_returns=1, timeout=seconds)
    silos = [(working.pop(ref)[0], ref) for ref in ready]
    return [(silo, _outcome(silo, ref)) for silo, ref in silos]


def _too_late(
    working: _Working, step: str, deadline_seconds: float | None
) -> list[tuple[str, SiloFailure]]:
    """Silos whose time is over, with why they failed; no longer working."""
    late = [ref for ref, (_, give_up) in working.items() if time.monotonic() > give_up]
    sentence = f"{step} took longer than {deadline_seconds or 0:g} s"
    failures = (
        SiloFailure(working.pop(ref)[0], FailureReason.TIMED_OUT, sentence)
        for ref in late
    )
    return [(failure.silo, failure) for failure in failures]


def _failed(outcome: object) -> bool:
    return isinstance(outcome, SiloFailure)


def _outcome(silo: str, ref: Any) -> Any:
    """The value behind a finished reference; Ray's own errors become failures."""
    try:
        return ray.get(ref)
    except RayActorError:
        return SiloFailure(silo, FailureReason.DIED, "the silo's process is gone")
    except RayError as error:
        return SiloFailure(silo, FailureReason.CRASHED, type(error).__name__)


@contextmanager
def ray_cohort(
    silos: Iterable[SiloConfig],
    *,
    run_id: str,
    folder: Path,
    cluster: ClusterConfig,
    helpers: Iterable[SiloConfig] = (),
) -> Iterator[RayCohort]:
    """One actor per silo, up and warm for the length of the block.

    Args:
        silos: who to start; `compute` must be filled in.
        helpers: who to start beside them.
        run_id: the run they serve.
        folder: parent of the silos' own folders, as their nodes see it.
        cluster: where; without an address a local one is started, unless this
            process is already connected to one.

    Raises:
        ConfigError: a silo asks for resources that no node offers.
    """
    silos, beside = tuple(silos), tuple(helpers)
    everybody = (*silos, *beside)
    started = not ray.is_initialized()
    with _own_signals():
        local = _start(cluster.ray_address, everybody) if started else False
    # Silos of one small machine take turns at its cores: all at once they would fight
    # for its caches and hold their working memory all at the same time.
    usual = (os.cpu_count() or 1) if local else max(1, len(silos))
    hosts: dict[str, ActorHandle[SiloHost]] = {}
    try:
        for silo in everybody:
            hosts[silo.name] = _host(silo, run_id, folder)
        _await_all(hosts, {s.name: s.compute or ComputeConfig() for s in everybody})
        # What is loaded by now stays: rounds need not look for garbage in it again.
        gc.freeze()
        helping = {helper.name: hosts[helper.name] for helper in beside}
        members = {silo.name: hosts[silo.name] for silo in silos}
        yield RayCohort(run_id, members, cluster.silos_at_once or usual, helping)
    finally:
        gc.unfreeze()
        for host in hosts.values():
            ray.kill(host)
        if started:
            ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our answer to SIGTERM: Ray's own aborts the process where it stands."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGTERM, before)


def _start(address: str | None, silos: tuple[SiloConfig, ...]) -> bool:
    """Connect this process; whether that started a cluster of its own."""
    os.environ.update(QUIET)
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return False
    # More logical than real CPUs on a small machine, or four silos of a demo would
    # wait on two cores for each other to end, for ever.
    wanted = sum((silo.compute or ComputeConfig()).num_cpus for silo in silos)
    ray.init(
        # Not None: that would join whatever cluster happens to run on this machine.
        address="local",
        num_cpus=max(os.cpu_count() or 1, int(wanted + 0.999)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    return True


def _host(silo: SiloConfig, run_id: str, folder: Path) -> ActorHandle[SiloHost]:
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
    return cast(
        "ActorHandle[SiloHost]",
        placed.remote(silo, run_id, str(folder / silo.name)),
    )


def _await_all(
    hosts: Mapping[str, ActorHandle[SiloHost]], wants: Mapping[str, ComputeConfig]
) -> None:
    give_up = time.monotonic() + START_SECONDS
    for silo, host in hosts.items():
        try:
            left = max(0.0, give_up - time.monotonic())
            ray.get(host.code_hash.remote(), timeout=left)
        except GetTimeoutError:
            want = wants[silo]
            raise ConfigError(
                f"silo {silo} could not start in {START_SECONDS:g} s: no Ray node "
                f"offers {want.num_cpus:g} CPUs, {want.num_gpus:g} GPUs and "
                f"{want.custom_resources or 'no custom resources'} at once; lower "
                "its compute section or add a node"
            ) from None

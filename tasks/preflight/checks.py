"""One check, one sentence: ok, warning or failed, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from data_contracts.exposure import (
    GROUPS_NOTE,
    MODE_WARNINGS,
    PLAIN_WARNING,
    TWO_SILOS_WARNING,
)
from data_contracts.preflight import (
    CanaryRound,
    Check,
    CheckStatus,
    RunEstimate,
    SiloResources,
)
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import SiloFailure
from tasks.preflight.estimate import extra_memory

GIGA = 1e9
COMFORT = 2.0
"""Less than so many times what is needed is a warning."""

NEAR_DEADLINE = 0.5


def ok(name: str, sentence: str) -> Check:
    """Nothing to do."""
    return Check(name=name, status=CheckStatus.OK, sentence=sentence)


def warning(name: str, sentence: str, remedy: str) -> Check:
    """The real run would get through, with a drawback."""
    return Check(
        name=name, status=CheckStatus.WARNING, sentence=sentence, remedy=remedy
    )


def failed(name: str, sentence: str, remedy: str) -> Check:
    """The real run would not get through."""
    return Check(name=name, status=CheckStatus.FAILED, sentence=sentence, remedy=remedy)


def check_silos_answer(
    resources: Mapping[str, SiloResources],
    failures: Mapping[str, SiloFailure],
    own_code: str,
    min_silos: int,
) -> Iterator[Check]:
    """Every silo answers, and runs the coordinator's code."""
    yield _left_out("connectivity", failures, len(resources), min_silos) or ok(
        "connectivity", f"{len(resources)} silos answer"
    )
    others = [s for s, told in resources.items() if told.code_hash != own_code]
    if others:
        yield warning(
            "code",
            f"{', '.join(others)} run other code than the coordinator",
            "install the same version of silorec at every silo",
        )
    else:
        yield ok("code", f"every silo runs code {own_code[:12]}")


def check_contracts(
    admitted: Iterable[str], quarantined: Mapping[str, str], min_silos: int
) -> Iterator[Check]:
    """Every silo's tables can be read and keep the data contract."""
    left = len(tuple(admitted))
    for sentence in quarantined.values():
        if left >= min_silos:
            remedy = "repair its tables, or the run goes on without it"
            yield warning("contracts", sentence, remedy)
        else:
            remedy = "repair its tables or adapt the section contracts"
            yield failed("contracts", sentence, remedy)
    if not quarantined:
        yield ok("contracts", f"the tables of {left} silos keep the data contract")


def check_policy(config: FederatedTrainingConfig, silos: int) -> Iterator[Check]:
    """What the chosen way of summing hides less than one may think."""
    secure = config.secure_aggregation
    told = [PLAIN_WARNING] if secure.mode == "plain" else []
    told += [MODE_WARNINGS[secure.mode]] if secure.mode in MODE_WARNINGS else []
    if secure.mode != "plain":
        told += [TWO_SILOS_WARNING] if silos == 2 else []
        groups = secure.groups
        told += [GROUPS_NOTE.format(groups=groups)] if groups > 1 else []
    for sentence in told:
        yield warning("policy", sentence, "go on only if every silo agrees to it")
    if not told:
        yield ok("policy", f"mode {secure.mode} hides each of {silos} silos' updates")


def check_step(
    name: str,
    done: Iterable[str],
    failures: Mapping[str, SiloFailure],
    min_silos: int,
    sentence: str,
) -> Check:
    """Enough silos got through a step of the tiny pass."""
    return _left_out(name, failures, len(tuple(done)), min_silos) or ok(name, sentence)


def check_sum(summed: SecureSum, words: int, min_silos: int) -> Check:
    """The masked updates were added up."""
    largest = max(summed.bytes_up.values(), default=0)
    return check_step(
        "aggregation",
        summed.contributors,
        {**summed.faults, **summed.dropped},
        min_silos,
        f"{words} numbers of {len(summed.contributors)} silos were summed in mode "
        f"{summed.mode}; a silo sent at most {largest / 1e6:.2f} MB",
    )


def check_deadline(canary: CanaryRound, config: FederatedTrainingConfig) -> Check:
    """No silo comes near `cohort.deadline_seconds` in a round."""
    slowest = max(canary.silos, key=lambda s: canary.silos[s].training.round_seconds)
    seconds = canary.silos[slowest].training.round_seconds
    deadline = config.cohort.deadline_seconds
    sentence = (
        f"silo {slowest} needs about {seconds:g} s for a round; "
        f"cohort.deadline_seconds is {deadline:g}"
    )
    remedy = "raise cohort.deadline_seconds or lower local_training.epochs"
    if seconds > deadline:
        return failed("deadline", sentence, remedy)
    if seconds > NEAR_DEADLINE * deadline:
        return warning("deadline", sentence, remedy)
    return ok("deadline", sentence)


def check_memory(
    canary: CanaryRound, config: FederatedTrainingConfig
) -> Iterator[Check]:
    """Every machine has room for what the real run needs beyond the tiny pass."""
    extra = extra_memory(canary, config)
    for silos, free in _machines(canary, "free_memory_bytes"):
        # The processes are there already; only what they grow by must still fit.
        yield _headroom(
            f"memory {_named(silos)}", free, max(extra * len(silos), 0.1 * GIGA),
            "lower model.dim, turn comparisons off, or give the silo more memory",
        )  # fmt: skip


def check_silo_disks(canary: CanaryRound) -> Iterator[Check]:
    """Every silo can keep its sequences and its records of a run."""
    for silos, free in _machines(canary, "free_disk_bytes"):
        needed = len(silos) * (0.1 * GIGA + 2 * canary.model_bytes)
        yield _headroom(f"disk {_named(silos)}", free, needed, "free some disk space")


def check_output_disk(free: float, estimate: RunEstimate) -> Check:
    """The output folder has room for a model of every round."""
    remedy = "free some disk space or choose another output_folder"
    return _headroom("disk of output", free, estimate.disk_bytes + 0.1 * GIGA, remedy)


def _headroom(name: str, free: float, needed: float, remedy: str) -> Check:
    sentence = (
        f"{free / GIGA:.2g} GB are free and about {needed / GIGA:.2g} GB are needed"
    )
    if free < needed:
        return failed(name, sentence, remedy)
    if free < COMFORT * needed:
        return warning(name, sentence, remedy)
    return ok(name, sentence)


def _machines(canary: CanaryRound, what: str) -> list[tuple[list[str], float]]:
    """(silos of a machine, least that one of them saw free), machine by machine."""
    machines: dict[str, list[str]] = {}
    for silo, one in canary.silos.items():
        machines.setdefault(one.resources.machine, []).append(silo)
    return [
        (silos, min(getattr(canary.silos[s].resources, what) for s in silos))
        for silos in machines.values()
    ]


def _named(silos: list[str]) -> str:
    return f"of {silos[0]}" if len(silos) == 1 else f"of {len(silos)} silos"


def _left_out(
    name: str, failures: Mapping[str, SiloFailure], left: int, min_silos: int
) -> Check | None:
    if not failures and left >= min_silos:
        return None
    reasons = "; ".join(
        f"silo {silo}: {failure.reason}, {failure.sentence}"
        for silo, failure in failures.items()
    )
    sentence = f"{left} silos are left ({reasons or 'no other was invited'})"
    if left < min_silos:
        return failed(name, sentence, f"repair them: cohort.min_silos is {min_silos}")
    return warning(name, sentence, "repair them, or the run goes on without them")

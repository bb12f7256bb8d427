"""The checks of a preflight, as they come in; an error ends them and is the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from data_contracts.errors import SilorecError
from data_contracts.preflight import Check, CheckStatus
from tasks.preflight.checks import failed


class Checklist:
    """Collects checks; knows the stage that an error would belong to."""

    def __init__(self) -> None:
        self._stage = "configuration"
        self._began_with = 0
        self._checks: list[Check] = []

    @property
    def checks(self) -> tuple[Check, ...]:
        """In the order they came in."""
        return tuple(self._checks)

    def stage(self, name: str) -> None:
        """What fails from now on, fails in this stage."""
        self._stage, self._began_with = name, len(self._checks)

    def add(self, *checks: Check) -> None:
        """Keep these."""
        self._checks += checks

    @contextmanager
    def until_one_fails(self) -> Iterator[None]:
        """An error of ours ends the block; it is a failed check, unless one told it."""
        try:
            yield
        except SilorecError as error:
            if not _any_failed(self._checks[self._began_with :]):
                sentence = "; ".join(error.message.splitlines())
                remedy = "set this right; what follows was not checked"
                self._checks.append(failed(self._stage, sentence, remedy))


def _any_failed(checks: Iterable[Check]) -> bool:
    return any(check.status is CheckStatus.FAILED for check in checks)

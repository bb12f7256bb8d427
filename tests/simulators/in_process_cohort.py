"""Silos as plain objects in this process: the other party, simulated."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from data_contracts.errors import FailureReason, SiloError
from data_contracts.settings.cohort import SiloConfig
from data_contracts.workspace import SiloFailure, SiloReplies, SiloStep, SiloWorkspace

T = TypeVar("T")


def honestly(step: SiloStep[T], workspace: SiloWorkspace, *args: Any) -> T:
    """The meddler that does nothing of its own."""
    return step(workspace, *args)


class InProcessCohort:
    """Implements `Cohort`; replies and arguments are copied as if sent.

    Attributes:
        workspaces: silo -> its workspace, open to the test.
        sabotage: (silo, step name) -> exception to raise instead of the step.
        answering_order: called with the silos before each step; the order in which
            they then work.
        meddler: does each step, `(step, workspace, *args) -> reply`.
        steps: names of the steps that were called, in order.
    """

    def __init__(
        self,
        silos: Iterable[SiloConfig | str],
        folder: Path,
        run_id: str = "run-1",
        answering_order: Callable[[list[str]], list[str]] = lambda silos: silos,
    ) -> None:
        configs = [
            s if isinstance(s, SiloConfig) else SiloConfig(name=s) for s in silos
        ]
        self.workspaces = {
            c.name: SiloWorkspace(c, run_id, folder / c.name) for c in configs
        }
        for workspace in self.workspaces.values():
            workspace.folder.mkdir(parents=True, exist_ok=True)
        self.run_id = run_id
        self.silos = tuple(self.workspaces)
        self.sabotage: dict[tuple[str, str], Exception] = {}
        self.answering_order = answering_order
        self.meddler: Callable[..., Any] = honestly
        self.steps: list[str] = []
        self.restarts = 0

    def only(self, silos: Iterable[str]) -> InProcessCohort:
        """A narrowed view that shares workspaces, sabotage and step log."""
        wanted = set(silos)
        view = type(self).__new__(type(self))
        view.__dict__ = dict(self.__dict__)
        view.silos = tuple(s for s in self.silos if s in wanted)
        return view

    def beside(self, helper: str) -> InProcessCohort:
        """A helper with a workspace of its own, made when first asked for."""
        if helper not in self.workspaces:
            folder = next(iter(self.workspaces.values())).folder.parent / helper
            folder.mkdir(exist_ok=True)
            config = SiloConfig(name=helper)
            self.workspaces[helper] = SiloWorkspace(config, self.run_id, folder)
        view = self.only(())
        view.silos = (helper,)
        return view

    def bring_back(self) -> Mapping[str, SiloFailure]:
        return {}

    def broadcast(self, value: T) -> T:
        return value

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
        called = [s for s in self.silos if per_silo is None or s in per_silo]
        self.steps.append(step.__name__)
        values: dict[str, T] = {}
        failures: dict[str, SiloFailure] = {}
        for silo in self.answering_order(list(called)):
            extra = () if per_silo is None else per_silo[silo]
            try:
                if (silo, step.__name__) in self.sabotage:
                    raise self.sabotage[silo, step.__name__]
                sent = pickle.loads(pickle.dumps((*args, *extra)))
                reply = self.meddler(step, self.workspaces[silo], *sent)
                values[silo] = pickle.loads(pickle.dumps(reply))
                if on_reply is not None:
                    on_reply(silo, values.pop(silo))
            except SiloError as error:
                failures[silo] = SiloFailure(silo, error.reason, error.message)
            except Exception as error:
                sentence = f"{step.__name__} failed: {type(error).__name__}"
                failures[silo] = SiloFailure(silo, FailureReason.CRASHED, sentence)
        return SiloReplies(
            {s: values[s] for s in called if s in values},
            {s: failures[s] for s in called if s in failures},
        )


@contextmanager
def silos_in_process(
    silos: Iterable[SiloConfig], config: Any, run_id: str
) -> Iterator[InProcessCohort]:
    """Stands for `open_cohort`."""
    folder = Path(config.output_folder).resolve() / "silos"
    yield InProcessCohort(silos, folder, run_id)

"""Which of a federation's models is in use: candidate, champion, rejected, retired.

The table `model_stages` only grows: a model's stage is the last that is on record for
it, and what was decided before stays there to be read. A federation is the `name` of
its runs.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from data_contracts.errors import NotRecordedError
from data_contracts.records import (
    Decider,
    ModelStageRecord,
    ModelVersionRecord,
    RunRecord,
    Stage,
)
from data_contracts.stopwatch import now_utc
from tasks.lineage.prefixes import only_match
from tasks.lineage.store import LineageStore

CHAMPION = "champion"
"""Stands for the present champion wherever a model may be named."""

LOCK = "registry.lock"


@dataclass(frozen=True)
class Registry:
    """The published models of one federation, as on record at one moment.

    Attributes:
        federation: name of its runs.
        versions: its published models, the oldest first.
        moves: every stage that one of them reached, in order.
    """

    federation: str
    versions: tuple[ModelVersionRecord, ...]
    moves: tuple[ModelStageRecord, ...]

    @cached_property
    def by_sha256(self) -> dict[str, ModelVersionRecord]:
        """Hash -> model; of the same bytes published twice, the later."""
        return {version.sha256: version for version in self.versions}

    @cached_property
    def standing(self) -> dict[str, ModelStageRecord]:
        """Hash -> the move that counts; models that nobody decided on have none."""
        return {move.model_sha256: move for move in self.moves}

    @property
    def champion(self) -> ModelVersionRecord | None:
        """The model in use."""
        return self._last(Stage.CHAMPION)

    @property
    def previous_champion(self) -> ModelVersionRecord | None:
        """The one in use before; what was rolled back is none."""
        return self._last(Stage.RETIRED)

    def _last(self, stage: Stage) -> ModelVersionRecord | None:
        found = [
            move
            for move in self.standing.values()
            if move.stage == stage and move.model_sha256 in self.by_sha256
        ]
        last = max(found, key=lambda move: move.sequence, default=None)
        return None if last is None else self.by_sha256[last.model_sha256]

    def find(self, model: str) -> ModelVersionRecord:
        """The model that is named.

        Args:
            model: `champion`, the hash of a published model, or the id of the run that
                published it; or the first letters of either.

        Raises:
            NotRecordedError: there is none, or more than one.
        """
        if model == CHAMPION:
            if self.champion is None:
                raise NotRecordedError(
                    f"{self.federation} has no champion yet; `silorec models promote` "
                    "makes a published model the champion"
                )
            return self.champion
        runs = {version.run_id: version for version in self.versions}
        named = {**runs, **self.by_sha256}
        return named[only_match("published model or run", model, named)]


def federations(store: LineageStore) -> tuple[str, ...]:
    """Names of federations that have published a model, sorted."""
    published = {row.run_id for row in _published(store)}
    return tuple(
        sorted({row.name for row in store.read(RunRecord) if row.run_id in published})
    )


def only_federation(store: LineageStore, name: str | None) -> str:
    """The federation that is named, or the only one there is.

    Raises:
        NotRecordedError: no model is published, or there is a choice.
    """
    known = federations(store)
    if name is None and len(known) == 1:
        return known[0]
    if name in known and name is not None:
        return name
    asked = (
        "no model is published here yet"
        if not known
        else (
            f"published models belong to {', '.join(known)}; name one of them with "
            "--federation"
        )
    )
    raise NotRecordedError(asked)


def read_registry(store: LineageStore, federation: str) -> Registry:
    """The models of a federation and their stages."""
    own = {row.run_id for row in store.read(RunRecord) if row.name == federation}
    versions = sorted(
        (row for row in _published(store) if row.run_id in own),
        key=lambda row: (row.at, row.run_id),
    )
    moves = store.read(ModelStageRecord)
    return Registry(
        federation,
        tuple(versions),
        tuple(move for move in moves if move.federation == federation),
    )


def set_stage(
    store: LineageStore,
    federation: str,
    version: ModelVersionRecord,
    stage: Stage,
    *,
    decided_by: Decider,
    sentence: str,
    leaving: Stage = Stage.RETIRED,
) -> Registry:
    """Move a model to a stage; a champion takes the place of the one before it.

    Nothing is written where the model stands there already.

    Args:
        store: of the runs.
        federation: name of the runs.
        version: a published model of theirs.
        stage: where it goes.
        decided_by: who says so.
        sentence: why.
        leaving: where the champion before it goes; a rejected one is never rolled back
            to.

    Raises:
        LineageError: the store cannot be written.
    """
    with _alone(store):
        before = read_registry(store, federation)
        moves = _moves(before, version, stage, decided_by, sentence, leaving)
        if not moves:
            return before
        step = f"stage-{federation}-{moves[0].sequence}"
        store.append(moves, run_id=version.run_id, step=step)
        return read_registry(store, federation)


def _moves(
    registry: Registry,
    version: ModelVersionRecord,
    stage: Stage,
    decided_by: Decider,
    sentence: str,
    leaving: Stage,
) -> Sequence[ModelStageRecord]:
    now = registry.standing.get(version.sha256)
    if now is not None and now.stage == stage:
        return ()
    steps = [(version, stage, sentence)]
    last = registry.champion
    if stage is Stage.CHAMPION and last is not None:
        told = f"made way for {version.sha256[:12]}: {sentence}"
        steps.insert(0, (last, leaving, told))
    at, first = now_utc().isoformat(), len(registry.moves)
    return [
        ModelStageRecord(
            federation=registry.federation,
            sequence=first + place,
            run_id=model.run_id,
            model_sha256=model.sha256,
            stage=reached,
            decided_by=decided_by,
            sentence=why,
            at=at,
        )
        for place, (model, reached, why) in enumerate(steps)
    ]


def _published(store: LineageStore) -> tuple[ModelVersionRecord, ...]:
    return tuple(row for row in store.read(ModelVersionRecord) if row.published)


@contextmanager
def _alone(store: LineageStore) -> Iterator[None]:
    """One process at a time decides; a killed one leaves no lock behind."""
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Every recorded model, what it was made out of, and in which rounds.

A model is made in one round of one run, out of its parent: the model the round
started from, of an earlier round of the run or, in a warm start, of another run.
What went into a model is what the silos contributed to

    * the rounds after the parent's round (after the start, if the parent is of
      another run) up to its own, without rounds that were rejected in between;
    * whatever went into its parent.

A round that was rejected leaves the model of an earlier round behind. Such a row is
the model of the round that made it: nothing of the rejected round went in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from data_contracts.records import (
    DecisionRecord,
    ModelVersionRecord,
    RoundRecord,
    Verdict,
)
from tasks.lineage.queries import SettledRecords

Making = tuple[str, int]
"""(run id, round number): where a model was made."""


@dataclass(frozen=True)
class FamilyTree:
    """Every recorded model and its parents."""

    settled: SettledRecords

    @cached_property
    def models(self) -> tuple[ModelVersionRecord, ...]:
        """Every row of a model of a complete round."""
        return self.settled.of(ModelVersionRecord)

    def making(self, model: ModelVersionRecord) -> Making:
        """Where the model of this row was made: where its bytes first appear."""
        return model.run_id, self._first_rounds[model.run_id, model.sha256]

    @cached_property
    def makings(self) -> dict[Making, ModelVersionRecord]:
        """Where made -> the model; of several rows the published one stands."""
        rows = sorted(self.models, key=lambda row: (row.published, -row.round_number))
        return {self.making(row): row for row in rows}

    @cached_property
    def by_sha256(self) -> dict[str, tuple[Making, ...]]:
        """Hash -> where it was made; reruns may make the same bytes."""
        places: defaultdict[str, list[Making]] = defaultdict(list)
        for making, model in sorted(self.makings.items(), key=lambda it: it[1].at):
            places[model.sha256].append(making)
        return {sha256: tuple(makings) for sha256, makings in places.items()}

    def parents(self, making: Making) -> tuple[Making, ...]:
        """Where the parent was made: earlier in the run, else in any other run."""
        run_id, round_number = making
        places = self.by_sha256.get(self.makings[making].parent_sha256, ())
        earlier = [place for place in places if place[0] == run_id]
        earlier = [place for place in earlier if place[1] < round_number]
        if earlier:
            return (max(earlier),)
        return tuple(place for place in places if place[0] != run_id)

    def rounds(self, making: Making) -> tuple[int, ...]:
        """Rounds between the parent and this model whose updates are in it."""
        run_id, last = making
        parents = self.parents(making)
        start = parents[0][1] if parents and parents[0][0] == run_id else 0
        return tuple(
            row.round_number
            for row in self.settled.rounds.get(run_id, ())
            if start < row.round_number <= last
            and (row.round_number == last or not self._is_rejected(run_id, row))
        )

    def ancestors(self, making: Making) -> tuple[Making, ...]:
        """The model itself, then its parents, their parents and so on."""
        return _reachable([making], {at: self.parents(at) for at in self.makings})

    def descendants(self, makings: Iterable[Making]) -> frozenset[Making]:
        """The models themselves and all that were made out of them."""
        children: defaultdict[Making, list[Making]] = defaultdict(list)
        for child in self.makings:
            for parent in self.parents(child):
                children[parent].append(child)
        return frozenset(_reachable(makings, children))

    @cached_property
    def _first_rounds(self) -> dict[tuple[str, str], int]:
        latest_first = sorted(self.models, key=lambda row: -row.round_number)
        return {(row.run_id, row.sha256): row.round_number for row in latest_first}

    def _is_rejected(self, run_id: str, row: RoundRecord) -> bool:
        return (run_id, row.round_number) in self._rejected

    @cached_property
    def _rejected(self) -> frozenset[Making]:
        return frozenset(
            (row.run_id, row.round_number)
            for row in self.settled.of(DecisionRecord)
            if row.verdict == Verdict.REJECTED
        )


def _reachable(
    start: Iterable[Making], edges: Mapping[Making, Collection[Making]]
) -> tuple[Making, ...]:
    found = dict.fromkeys(start)
    waiting = list(found)
    while waiting:
        for place in edges.get(waiting.pop(0), ()):
            if place not in found:
                found[place] = None
                waiting.append(place)
    return tuple(found)

"""Which data went into which model, asked from either end.

Only updates count. A silo that merely evaluated a model, or whose contract was
checked, has put no data into it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from data_contracts.errors import NotRecordedError
from data_contracts.records import (
    ContractRecord,
    DecisionRecord,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    PrivacyAuditRecord,
    RoundRecord,
    RunRecord,
)
from tasks.lineage.family_tree import FamilyTree, Making
from tasks.lineage.prefixes import matching, only_match
from tasks.lineage.queries import settled_records
from tasks.lineage.store import LineageStore

P = TypeVar("P", RoundRecord, ParticipantRecord, MetricRecord, DecisionRecord)


@dataclass(frozen=True)
class RunShare:
    """What one run put into a model; records of rounds that count, no others.

    Attributes:
        run: current row of the run.
        models: the models of this run on the way, the last one first.
    """

    run: RunRecord
    models: tuple[ModelVersionRecord, ...]
    contracts: tuple[ContractRecord, ...]
    rounds: tuple[RoundRecord, ...]
    participants: tuple[ParticipantRecord, ...]
    metrics: tuple[MetricRecord, ...]
    decisions: tuple[DecisionRecord, ...]


@dataclass(frozen=True)
class ModelLineage:
    """How a model came to be.

    Attributes:
        model: the model asked for; its published row where there is one.
        shares: its own run first, then the runs it was warm-started from.
        unrecorded_parents: hashes of base models that no recorded run made.
        also_made_by: other runs that arrived at the very same bytes.
        audits: of the training that made it, one row per family of canaries.
    """

    model: ModelVersionRecord
    shares: tuple[RunShare, ...]
    unrecorded_parents: tuple[str, ...]
    also_made_by: tuple[str, ...]
    audits: tuple[PrivacyAuditRecord, ...] = ()


def which_made(store: LineageStore, model_or_run: str) -> ModelLineage:
    """Everything that went into a model.

    Args:
        store: where to look.
        model_or_run: SHA-256 of a model, or the id of a run, which stands for the
            model it published (else the last one it made); or their first letters.

    Raises:
        NotRecordedError: nothing recorded starts so, or more than one thing does.
    """
    tree = FamilyTree(settled_records(store))
    making = _find(tree, model_or_run)
    ancestors = tree.ancestors(making)
    model = tree.makings[making]
    known = tree.by_sha256
    bases = {tree.makings[place].parent_sha256 for place in ancestors} - {""}
    return ModelLineage(
        model=model,
        shares=_shares(tree, ancestors),
        unrecorded_parents=tuple(sorted(base for base in bases if base not in known)),
        also_made_by=tuple(
            sorted({run for run, _ in known[model.sha256]} - {model.run_id})
        ),
        audits=tuple(
            row
            for row in store.read(PrivacyAuditRecord)
            if row.model_sha256 == model.sha256
        ),
    )


def models_with(
    store: LineageStore, silo: str, snapshot: str | None = None
) -> tuple[ModelVersionRecord, ...]:
    """Every model, candidate or published, that a silo's data went into.

    Includes models that were warm-started from such a model, in any run.

    Args:
        store: where to look.
        silo: name of the silo.
        snapshot: count only this data snapshot: its hash or the first letters.

    Raises:
        NotRecordedError: the silo or the snapshot is in no record, so that a typing
            error is never taken for "no model".
    """
    tree = FamilyTree(settled_records(store))
    rows = tree.settled.of(ParticipantRecord)
    _check_recorded(rows, silo, snapshot)
    contributed = {
        (row.run_id, row.round_number)
        for row in rows
        if row.silo == silo
        and row.contributed
        and row.data_snapshot_hash.startswith(snapshot or "")
    }
    direct = [
        (run_id, last)
        for run_id, last in tree.makings
        if any(
            (run_id, number) in contributed for number in tree.rounds((run_id, last))
        )
    ]
    tainted = tree.descendants(direct)
    return tuple(row for row in tree.models if tree.making(row) in tainted)


def _check_recorded(
    rows: Iterable[ParticipantRecord], silo: str, snapshot: str | None
) -> None:
    snapshots: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        snapshots[row.silo].add(row.data_snapshot_hash)
    if silo not in snapshots:
        raise NotRecordedError(
            f"no recorded round names a silo {silo!r}; recorded silos: "
            f"{', '.join(sorted(snapshots)) or 'none'}"
        )
    if snapshot is not None and not matching(snapshot, snapshots[silo]):
        raise NotRecordedError(
            f"silo {silo} took part with no data snapshot that starts with "
            f"{snapshot!r}; leave the snapshot out to see every model"
        )


def _find(tree: FamilyTree, text: str) -> Making:
    """The making that a model hash, a run id or a prefix of either stands for."""
    name = only_match("model or run", text, [*tree.by_sha256, *tree.settled.runs])
    if name in tree.by_sha256:
        return tree.by_sha256[name][-1]
    own = [place for place in tree.makings if place[0] == name]
    if not own:
        raise NotRecordedError(
            f"run {name} has no model on record: it made none, or is still in its "
            "first round; `silorec lineage runs` shows how it stands"
        )
    return max(own, key=lambda place: (tree.makings[place].published, place))


def _shares(tree: FamilyTree, ancestors: Collection[Making]) -> tuple[RunShare, ...]:
    settled = tree.settled
    counted = {(run, n) for run, last in ancestors for n in tree.rounds((run, last))}
    contracts = settled.contracts()
    rounds = [row for rows in settled.rounds.values() for row in rows]
    participants = settled.of(ParticipantRecord)
    metrics = settled.of(MetricRecord)
    decisions = settled.of(DecisionRecord)
    return tuple(
        RunShare(
            run=settled.runs[run],
            models=tuple(tree.makings[at] for at in ancestors if at[0] == run),
            contracts=tuple(row for row in contracts if row.run_id == run),
            rounds=_counted(rounds, run, counted),
            participants=_counted(participants, run, counted),
            metrics=_counted(metrics, run, counted),
            decisions=_counted(decisions, run, counted),
        )
        for run in dict.fromkeys(run for run, _ in ancestors)
    )


def _counted(rows: Iterable[P], run: str, counted: Collection[Making]) -> tuple[P, ...]:
    return tuple(
        row for row in rows if row.run_id == run and (run, row.round_number) in counted
    )

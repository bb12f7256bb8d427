"""What changed from one published model to another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data_contracts.records import (
    POOLED_SILOS,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    RunRecord,
    Subject,
)
from tasks.lineage.model_files import read_vocabulary
from tasks.lineage.store import LineageStore

METRICS = ("ndcg", "hr", "mrr", "nll")


@dataclass(frozen=True)
class ModelDifference:
    """Two published models side by side; the old one first in every pair.

    Attributes:
        old: the model compared with.
        new: the model asked about.
        settings: setting -> its two values, where they differ.
        items: how many items came, and how many went.
        data: silo -> the two snapshots that went in, where they differ; empty: none.
        metrics: (silo, metric) -> the two test figures.
    """

    old: ModelVersionRecord
    new: ModelVersionRecord
    settings: Mapping[str, tuple[Any, Any]]
    items: tuple[int, int]
    data: Mapping[str, tuple[str, str]]
    metrics: Mapping[tuple[str, str], tuple[float | None, float | None]]


def difference(
    store: LineageStore, old: ModelVersionRecord, new: ModelVersionRecord
) -> ModelDifference:
    """Compare two models of the store.

    Raises:
        LineageError: a vocabulary is missing or damaged.
    """
    before, after = set(read_vocabulary(old)), set(read_vocabulary(new))
    return ModelDifference(
        old,
        new,
        _differing(_settings(store, old), _settings(store, new)),
        (len(after - before), len(before - after)),
        _differing(_snapshots(store, old), _snapshots(store, new)),
        dict(_paired_metrics(store, old, new)),
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: (old.get(key, ""), new.get(key, ""))
        for key in sorted({*old, *new})
        if old.get(key, "") != new.get(key, "")
    }


def _settings(store: LineageStore, version: ModelVersionRecord) -> dict[str, Any]:
    rows = store.read(RunRecord, run_id=version.run_id)
    tree = json.loads(rows[-1].config_json or "{}") if rows else {}
    return dict(_flat(tree, ()))


def _flat(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, below in tree.items():
            yield from _flat(below, (*path, key))
    else:
        yield ".".join(path), tree


def _snapshots(store: LineageStore, version: ModelVersionRecord) -> dict[str, str]:
    rows = store.read(ParticipantRecord, run_id=version.run_id)
    return {row.silo: row.data_snapshot_hash for row in rows if row.contributed}


def _paired_metrics(
    store: LineageStore, old: ModelVersionRecord, new: ModelVersionRecord
) -> Iterator[tuple[tuple[str, str], tuple[float | None, float | None]]]:
    figures = [_test_figures(store, version) for version in (old, new)]
    silos = sorted({silo for found in figures for silo, _ in found} - {POOLED_SILOS})
    for silo in (POOLED_SILOS, *silos):
        for metric in METRICS:
            pair = tuple(found.get((silo, metric)) for found in figures)
            if any(value is not None for value in pair):
                yield (silo, metric), (pair[0], pair[1])


def _test_figures(
    store: LineageStore, version: ModelVersionRecord
) -> dict[tuple[str, str], float]:
    rows: list[MetricRecord] = [
        row
        for row in store.read(MetricRecord, run_id=version.run_id)
        if (row.subject, row.window) == (Subject.FEDERATED, "test")
    ]
    return {(row.silo, row.metric): row.value for row in rows}

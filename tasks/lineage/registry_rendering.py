"""Models of a federation and their difference, for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from data_contracts.records import RetrainingRecord
from tasks.lineage.model_difference import ModelDifference
from tasks.lineage.registry import Registry

SHORT = 12
SHOWN_RETRAININGS = 10


def registry_json(
    registry: Registry, retrainings: Sequence[RetrainingRecord]
) -> dict[str, Any]:
    """Everything that the table shows, and every move."""
    return {
        "federation": registry.federation,
        "models": [
            {"stage": _stage(registry, version.sha256), **asdict(version)}
            for version in registry.versions
        ],
        "moves": [asdict(move) for move in registry.moves],
        "retrainings": [asdict(row) for row in retrainings],
    }


def registry_view(
    registry: Registry, retrainings: Sequence[RetrainingRecord]
) -> RenderableType:
    """`silorec models list`: models, the latest first, and the last retrainings."""
    table = _table("model", "stage", "run", "published", "decided by", "why")
    table.title = f"Published models of {registry.federation}"
    for version in reversed(registry.versions):
        move = registry.standing.get(version.sha256)
        table.add_row(
            version.sha256[:SHORT],
            Text(_stage(registry, version.sha256) or "undecided"),
            version.run_id,
            version.at[:19],
            move.decided_by if move else "",
            Text(move.sentence if move else ""),
        )
    if not retrainings:
        return table
    ended = _table("retraining", "at", "outcome", "challenger", "new data at", "why")
    ended.title = "Retrainings"
    for row in retrainings[-SHOWN_RETRAININGS:][::-1]:
        ended.add_row(
            row.run_id,
            row.at[:19],
            row.outcome,
            row.challenger_sha256[:SHORT],
            f"{row.new_silos} silos",
            Text(row.sentence),
        )
    return Group(table, Text(), ended)


def difference_json(found: ModelDifference) -> dict[str, Any]:
    """The same facts as plain dictionaries."""
    return {
        "old": asdict(found.old),
        "new": asdict(found.new),
        "settings": {k: list(pair) for k, pair in found.settings.items()},
        "items": {"new": found.items[0], "gone": found.items[1]},
        "data": {k: list(pair) for k, pair in found.data.items()},
        "metrics": [
            {"silo": silo, "metric": metric, "old": old, "new": new}
            for (silo, metric), (old, new) in found.metrics.items()
        ],
    }


def difference_view(found: ModelDifference) -> RenderableType:
    """`silorec models diff`: figures, settings, items and data that differ."""
    old, new = found.old.sha256[:SHORT], found.new.sha256[:SHORT]
    came, went = found.items
    sizes = f"{found.old.parameters:,} and {found.new.parameters:,} parameters"
    parts: list[RenderableType] = [
        Text(f"{old} of {found.old.run_id} against {new} of {found.new.run_id}"),
        Text(f"{sizes}; {came} items came, {went} went"),
    ]
    if found.metrics:
        figures = _table("silo", "metric", old, new, "change")
        figures.title = "Test window of each model's own run"
        for (silo, metric), (before, after) in found.metrics.items():
            figures.add_row(
                silo, metric, _figure(before), _figure(after), _change(before, after)
            )
        parts.append(figures)
    parts += _pairs("Settings that differ", found.settings, old, new)
    parts += _pairs("Data that differs", found.data, old, new)
    return Group(*parts)


def _pairs(
    title: str, pairs: Mapping[str, tuple[Any, Any]], old: str, new: str
) -> list[RenderableType]:
    if not pairs:
        return []
    table = _table("", old, new)
    table.title = title
    for name, (before, after) in pairs.items():
        table.add_row(name, Text(_short(before)), Text(_short(after)))
    return [table]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:SHORT]}..."


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _change(old: float | None, new: float | None) -> str:
    return "" if not old or new is None else f"{new / old - 1:+.1%}"


def _stage(registry: Registry, sha256: str) -> str:
    move = registry.standing.get(sha256)
    return move.stage if move else ""


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

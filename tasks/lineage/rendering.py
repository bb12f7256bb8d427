"""Lineage for the terminal, and the same as plain dictionaries for `--json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from data_contracts.records import (
    POOLED_SILOS,
    ContractRecord,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    RunRecord,
    Subject,
)
from tasks.lineage.ancestry import ModelLineage, RunShare

_SHORT = 12


def as_json(value: ModelLineage | RunRecord | ModelVersionRecord) -> dict[str, Any]:
    """A lineage or record as nested dictionaries; NaN and infinity become None."""
    text = json.dumps(asdict(value))
    plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return plain


def runs_table(runs: Sequence[RunRecord]) -> RenderableType:
    """`silorec lineage runs`: one line per run."""
    if not runs:
        return Text("No run is recorded here yet.")
    table = _table("run", "name", "status", "since", "silos", "config", "code")
    for run in runs:
        _add(
            table,
            run.run_id,
            run.name,
            run.status,
            run.at,
            str(run.silos),
            run.config_hash[:_SHORT],
            run.code_hash[:_SHORT],
        )
    return table


def models_table(
    models: Sequence[ModelVersionRecord], silo: str, snapshot: str | None = None
) -> RenderableType:
    """`silorec lineage models --silo B`: the models that silo's data went into."""
    data = f"snapshot {snapshot} of silo {silo}" if snapshot else f"silo {silo}"
    if not models:
        return Text(f"No recorded model contains data of {data}.")
    table = _table("model", "name", "run", "round", "state", "made", "file")
    table.title = f"Models that contain data of {data}"
    for model in models:
        _add(
            table,
            model.sha256[:_SHORT],
            model.name,
            model.run_id,
            str(model.round_number),
            _state(model),
            model.at,
            model.path,
        )
    return table


def lineage_view(lineage: ModelLineage) -> RenderableType:
    """`silorec lineage show MODEL`: what went into the model, run by run."""
    model = lineage.model
    head = Text.assemble(
        (f"{model.name} {model.sha256}\n", "bold"),
        f"{_state(model)}, {model.parameters:,} parameters, {model.size_bytes:,} bytes",
        f", made {model.at}\n{model.path}",
    )
    parts: list[RenderableType] = [head]
    parts += [_share_tree(share, lineage.shares[0]) for share in lineage.shares]
    parts += [
        Text(f"Base model {sha256[:_SHORT]} was not made by a run recorded here.")
        for sha256 in lineage.unrecorded_parents
    ]
    if lineage.also_made_by:
        same = ", ".join(lineage.also_made_by)
        parts.append(Text(f"The same bytes were also made by: {same}."))
    verdicts = {row.run_id: (row.verdict, row.sentence) for row in lineage.audits}
    parts += [
        Text(f"Privacy audit {audit}: {verdict}. {sentence}")
        for audit, (verdict, sentence) in verdicts.items()
    ]
    return Group(*parts)


def _share_tree(share: RunShare, own: RunShare) -> Tree:
    run = share.run
    relation = "Made by run" if share is own else "Warm-started from run"
    tree = Tree(Text(f"{relation} {run.run_id} ({run.name}, {run.status})", "bold"))
    tree.add(Text(f"config {run.config_hash[:_SHORT]}, code {run.code_hash[:_SHORT]}"))
    tree.add(_silos_table(share))
    if share.rounds:
        tree.add(_rounds_table(share))
    broken = [row for row in share.contracts if not row.success]
    if broken:
        tree.add(_broken_contracts(broken))
    return tree


def _silos_table(share: RunShare) -> Table:
    table = _table("silo", "rounds", "data snapshot", "config", "code", "contract")
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    for row in share.participants:
        if row.contributed:
            source = (row.silo, row.data_snapshot_hash, row.config_hash, row.code_hash)
            groups.setdefault(source, []).append(row.round_number)
    for (silo, snapshot, config, code), rounds in sorted(groups.items()):
        _add(
            table,
            silo,
            _spans(rounds),
            snapshot[:_SHORT],
            config[:_SHORT],
            code[:_SHORT],
            _contract_result(share.contracts, silo),
        )
    return table


def _rounds_table(share: RunShare) -> Table:
    overall = [
        row
        for row in share.metrics
        if row.subject == Subject.FEDERATED
        and row.silo == POOLED_SILOS
        and row.metric == "ndcg"
    ]
    names = sorted({_metric_name(row) for row in overall})
    table = _table("round", "silos", "dropped", "loss", *names, "model")
    for row in share.rounds:
        values = {
            _metric_name(metric): f"{metric.value:.4f}"
            for metric in overall
            if metric.round_number == row.round_number
        }
        _add(
            table,
            str(row.round_number),
            str(row.contributors),
            _dropped(share.participants, row.round_number),
            "" if math.isnan(row.train_loss) else f"{row.train_loss:.4f}",
            *(values.get(name, "") for name in names),
            row.model_sha256[:_SHORT],
        )
    return table


def _broken_contracts(broken: Iterable[ContractRecord]) -> Table:
    table = _table("silo", "table", "column", "broken expectation", "rows")
    for row in broken:
        _add(
            table,
            row.silo,
            row.table,
            row.column,
            row.expectation,
            row.unexpected_count,
        )
    return table


def _contract_result(contracts: Iterable[ContractRecord], silo: str) -> str:
    results = [row.success for row in contracts if row.silo == silo]
    if not results:
        return "not checked"
    return f"{sum(results)} of {len(results)} passed"


def _dropped(participants: Iterable[ParticipantRecord], round_number: int) -> str:
    left = [
        f"{row.silo}: {row.reason}"
        for row in participants
        if row.round_number == round_number and not row.contributed
    ]
    return ", ".join(left)


def _metric_name(row: MetricRecord) -> str:
    return f"{row.metric} {row.window}"


def _state(model: ModelVersionRecord) -> str:
    return "published" if model.published else "candidate"


def _spans(numbers: Sequence[int]) -> str:
    """Round numbers as spans.

    >>> _spans([1, 2, 3, 5, 7, 8])
    '1-3, 5, 7-8'
    """
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    # As text: rich would take a name in brackets for markup.
    table.add_row(*(Text(cell) for cell in cells))

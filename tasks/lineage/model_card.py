"""The card of a published model: what it is, of what, how good, and its limits.

After Mitchell et al. 2019, "Model Cards for Model Reporting", as far as the lineage
tables can answer. Holds nothing that is not in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from data_contracts.records import (
    POOLED_SILOS,
    MetricRecord,
    ModelVersionRecord,
    PrivacyRecord,
    RunHistory,
    Subject,
)

METRICS = ("ndcg", "hr", "mrr", "nll")


def model_card(history: RunHistory, version: ModelVersionRecord) -> str:
    """Markdown.

    Args:
        history: of the run that published the model.
        version: the model.
    """
    config = json.loads(history.run.config_json or "{}")
    parts = (
        _identity(history, version, config),
        _use(),
        _training(history, config),
        _quality(history.metrics, config),
        _privacy(history, config),
        _limits(),
    )
    return "\n\n".join(parts) + "\n"


def _identity(history: RunHistory, version: ModelVersionRecord, config: Any) -> str:
    model = config.get("model", {})
    facts = {
        "SHA-256": f"`{version.sha256}`",
        "federation": version.name,
        "run": version.run_id,
        "round": version.round_number,
        "published": version.at,
        "started from": f"`{version.parent_sha256}`" if version.parent_sha256 else "-",
        "architecture": f"{model.get('architecture', '?')}, dim {model.get('dim', '?')}"
        f", {model.get('blocks', '?')} blocks, items by {model.get('items', '?')}",
        "parameters": f"{version.parameters:,}",
        "configuration": f"`{history.run.config_hash}`",
        "code": f"`{history.run.code_hash}`, silorec {history.run.silorec_version}",
    }
    return f"# Model card: {version.name}\n\n" + _table(("", ""), facts.items())


def _use() -> str:
    return (
        "## Intended use\n\nRecommends items of a silo's catalogue to people by what "
        "they used before, inside the silos that trained it. Not for decisions about "
        "people, and not for people or catalogues unlike those it was measured on."
    )


def _training(history: RunHistory, config: Any) -> str:
    rows: dict[str, tuple[int, str]] = {}
    for row in history.participants:
        if row.contributed:
            rounds, _ = rows.get(row.silo, (0, ""))
            rows[row.silo] = (rounds + 1, row.data_snapshot_hash)
    told = [(silo, n, f"`{h[:16]}`") for silo, (n, h) in sorted(rows.items())]
    secure = config.get("secure_aggregation", {})
    return (
        "## Training data\n\nInteractions never left their silo; updates were summed "
        f"by secure aggregation, mode {secure.get('mode', '?')}. A snapshot is a hash "
        "that only its silo can make.\n\n"
        + _table(("silo", "rounds", "data snapshot"), told)
    )


def _quality(metrics: Sequence[MetricRecord], config: Any) -> str:
    title = "## Quality\n\n"
    k = config.get("evaluation", {}).get("k", 10)
    test = [row for row in metrics if row.window == "test" and row.metric in METRICS]
    if not test:
        return title + "No metrics of this model left the silos."
    lines = [*_quality_rows(test)]
    head = (
        "model",
        "silo",
        *(name if name == "nll" else f"{name}@{k}" for name in METRICS),
    )
    return (
        title + "Full ranking of all items that a silo stocks and the person has not "
        "used, on the test window.\n\n" + _table(head, lines)
    )


def _quality_rows(test: Sequence[MetricRecord]) -> Iterator[tuple[Any, ...]]:
    found = {(row.subject, row.silo, row.metric): row.value for row in test}
    silos = sorted({row.silo for row in test} - {POOLED_SILOS})
    wanted = [(subject, POOLED_SILOS) for subject in Subject]
    wanted += [(Subject.FEDERATED, silo) for silo in silos]
    for subject, silo in wanted:
        values = [found.get((subject, silo, metric)) for metric in METRICS]
        if any(value is not None for value in values):
            told = ["-" if v is None or v != v else f"{v:.4f}" for v in values]
            yield (subject.value, silo, *told)


def _privacy(history: RunHistory, config: Any) -> str:
    title = "## Privacy\n\n"
    last: dict[str, PrivacyRecord] = {}
    for row in sorted(history.privacy, key=lambda row: row.at):
        last[row.silo] = row
    if not last:
        return (
            title + "No differential privacy: the model may reveal whether a person's "
            "interactions were in the training data, to whoever holds it."
        )
    rows = [
        (r.silo, r.mode, f"{r.epsilon:.2f} of {r.budget:g}", f"{r.delta:.2g}", r.period)
        for r in last.values()
    ]
    return (
        title + "Differential privacy for every person; epsilon is what the silo's "
        "ledger has spent in its period, all trainings together.\n\n"
        + _table(("silo", "mode", "epsilon", "delta", "period"), rows)
    )


def _limits() -> str:
    return (
        "## Limits\n\nMeasured offline on what people did under other recommendations: "
        "an online test is what counts. Popular items are favoured as in the data. "
        "People without a known history get what is popular. The signature says who "
        "published this model, not that it is good."
    )


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in lines)

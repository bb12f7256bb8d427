"""What the Prefect UI shows of a run: a summary in Markdown and a table of results."""

from __future__ import annotations

from data_contracts.records import RunHistory
from tasks.reporting.findings import (
    compared_subjects,
    comparison,
    headline,
    metric_title,
    published_model,
)
from tasks.reporting.judgement import cautions, privacy
from tasks.reporting.overview import key_figures
from tasks.reporting.units import figure, in_percent

_SPECIAL = "\\`*_[]<>|#"


def results_rows(history: RunHistory) -> list[dict[str, str]]:
    """One row per silo (all silos first): every model's figure and the lift."""
    rows = comparison(history)
    title, subjects = metric_title(history, "ndcg"), compared_subjects(rows)
    table = []
    for row in rows:
        line = {"silo": row.silo, "test users": str(row.users)}
        for subject in subjects:
            line[f"{title} {subject}"] = figure(row.values.get(subject))
        table.append(line | {"lift": in_percent(row.lift)})
    return table


def summary_markdown(history: RunHistory, report_path: str) -> str:
    """Headline, cautions, key figures, privacy and where report and model lie."""
    model = published_model(history)
    lines = [
        f"# {_plain(headline(history))}",
        *(f"- **{_plain(remark.sentence)}**" for remark in cautions(history)),
        "",
        "| figure | value | |",
        "| --- | ---: | --- |",
        *(f"| {f.label} | {f.value} | {f.note} |" for f in key_figures(history)),
        "",
        "## Privacy",
        *(f"- {_plain(remark.sentence)}" for remark in privacy(history)),
        "",
        "## Where it lies",
        f"- report: `{report_path}`",
        *(
            [f"- model: `{model.path}`", f"- SHA-256: `{model.sha256}`"]
            if model
            else []
        ),
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text in which Markdown and HTML mean nothing."""
    return "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in text)

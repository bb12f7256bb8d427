"""The page of a privacy audit: one HTML file, self-contained like a run's report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from data_contracts.privacy_audit import AuditResult, AuditVerdict
from tasks.reporting.audit_charts import claim_chart, score_chart
from tasks.reporting.report import inlined, page_environment, write_page

_TEMPLATE = "audit.html.j2"
_TONES = {
    AuditVerdict.PASS: "good",
    AuditVerdict.WARN: "warning",
    AuditVerdict.FAIL: "alarm",
}
_STYLES = {
    AuditVerdict.PASS: "green",
    AuditVerdict.WARN: "yellow",
    AuditVerdict.FAIL: "bold red",
}
_HEADLINES = {
    AuditVerdict.PASS: "Nothing contradicts the claimed epsilon of {claimed:g}",
    AuditVerdict.WARN: "The claimed epsilon of {claimed:g} is in doubt",
    AuditVerdict.FAIL: "The claimed epsilon of {claimed:g} is refuted",
}


def render_audit(result: AuditResult) -> str:
    """The audit as one HTML document."""
    return page_environment().get_template(_TEMPLATE).render(
        result=result,
        tone=_TONES[result.verdict],
        headline=_HEADLINES[result.verdict].format(claimed=result.claimed_epsilon),
        claims=inlined(claim_chart(result)),
        histograms=[
            (
                found.family.value,
                inlined(score_chart(found, "claimed noise")),
                inlined(score_chart(result.control_of(found.family), "noise off")),
            )
            for found in result.findings
        ],
    )  # fmt: skip


def write_audit(result: AuditResult, output_folder: str) -> Path:
    """Write the page to `<output folder>/audits/<audit id>.html`.

    Raises:
        UsageError: the folder cannot be created or written.
    """
    folder = Path(output_folder).expanduser().resolve() / "audits"
    return write_page(render_audit(result), folder / f"{result.audit_id}.html")


def audit_rows(result: AuditResult) -> list[dict[str, str]]:
    """One row per family of canaries, as the terminal and the UI show it."""
    return [
        {
            "canaries": f"{found.canaries} {found.family.value}",
            "certain": f"{found.bound:.2f}",
            "likely": f"{found.estimate:.2f}",
            "interval": f"{found.estimate_low:.2f} to {found.estimate_high:.2f}",
            "provable at most": f"{found.ceiling:.2f}",
            "likely, noise off": f"{result.control_of(found.family).estimate:.2f}",
        }
        for found in result.findings
    ]


def audit_table(result: AuditResult) -> RenderableType:
    """The verdict and the figures, for a terminal."""
    rows = audit_rows(result)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, title in enumerate(rows[0]):
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    verdict = Text(result.verdict.value.upper(), style=_STYLES[result.verdict])
    return Group(Text.assemble(verdict, f"  {result.sentence}"), "", table)

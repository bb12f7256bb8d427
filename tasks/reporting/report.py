"""The report of a run: one HTML file for a person who decides whether joining pays.

Self-contained: styles and pictures are inline and a content security policy forbids
every request, so the file can be mailed, archived and opened offline. Same history,
same bytes. All text passes through autoescaping; only our own charts do not.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup

from data_contracts.errors import UsageError
from data_contracts.records import POOLED_SILOS, RunHistory, Subject
from tasks.reporting import (
    charts,
    findings,
    judgement,
    overview,
    private_remarks,
    sections,
    units,
)

_TEMPLATE = "report.html.j2"


def render_report(history: RunHistory) -> str:
    """The report as one HTML document."""
    return page_environment().get_template(_TEMPLATE).render(
        run=history.run,
        history=history,
        headline=findings.headline(history),
        cautions=judgement.cautions(history),
        key_figures=overview.key_figures(history),
        joining=findings.comparison(history),
        losers=findings.losers(history),
        worst=findings.worst_served(history),
        everyone=POOLED_SILOS,
        subject=Subject,
        title=lambda metric: findings.metric_title(history, metric),
        metrics=overview.METRICS,
        ranked=_RANKED.get(
            findings.setting(history, "evaluation", "candidates"), "full ranking"
        ),
        metric_lines=overview.metric_lines(history),
        attendance=sections.attendance(history),
        decisions=sections.decision_log(history),
        phases=sections.phases(history),
        bytes_per_parameter=overview.bytes_per_parameter(history),
        contracts=sections.contract_results(history),
        quarantined=findings.quarantined(history),
        privacy=judgement.privacy(history),
        ledgers=private_remarks.ledgers(history),
        provenance=sections.provenance(history),
        model=findings.published_model(history),
        config=_config_text(history),
        charts={name: inlined(draw(history)) for name, draw in _CHARTS.items()},
    )  # fmt: skip


_RANKED = {
    "silo-catalogue": "every item of the silo's own catalogue is ranked, none sampled",
    "vocabulary": "every item of the shared vocabulary is ranked, none sampled",
}
_CHARTS = {
    "comparison": charts.comparison_chart,
    "validation": charts.validation_chart,
    "bytes": charts.bytes_chart,
    "time": charts.time_chart,
}


def report_path(history: RunHistory, output_folder: str) -> Path:
    """Where the report of a run lies: `<output folder>/reports/<run id>.html`."""
    folder = Path(output_folder).expanduser().resolve() / "reports"
    return folder / f"{history.run.run_id}.html"


def write_report(history: RunHistory, path: Path) -> Path:
    """Write the report to `path`: whole or not at all, replacing an older one.

    Raises:
        UsageError: the folder cannot be created or written.
    """
    return write_page(render_report(history), path)


def write_page(text: str, path: Path) -> Path:
    """Write a page to `path`: whole or not at all, replacing an older one.

    Raises:
        UsageError: the folder cannot be created or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(".tmp", path.name, path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        # mkstemp makes the file private; a report is as public as its folder.
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to {path} ({error.strerror}); choose an "
            "output_folder that exists and may be written to"
        ) from None
    return path


def page_environment() -> jinja2.Environment:
    """Templates of this room: autoescaped, strict, with our units as filters."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "figure": units.figure,
        "percent": units.in_percent,
        "bytes": units.in_bytes,
        "seconds": units.in_seconds,
        "moment": units.in_moments,
        "short": units.short_hash,
    }
    return environment


def inlined(svg: str) -> Markup:
    """Our own SVG as part of an HTML page, where namespaces are implied."""
    return Markup(re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg))  # noqa: S704 - drawn by us, text escaped


def _config_text(history: RunHistory) -> str:
    tree = findings.config_tree(history)
    if not tree:
        return history.run.config_json or "not recorded"
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).rstrip()

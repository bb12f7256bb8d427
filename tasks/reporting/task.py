"""Prefect edge of the reporting room.

Creating an artifact costs 30 to 250 ms, so they are made once, at the end; the
progress artifact is created before the first round and moved at most every 2 s.
"""

from __future__ import annotations

import time
from typing import cast
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from data_contracts.privacy_audit import AuditResult
from data_contracts.records import RunHistory
from data_contracts.tabular import TabularResult
from tasks.reporting.artifacts import results_rows, summary_markdown
from tasks.reporting.audit_page import audit_rows, write_audit
from tasks.reporting.charts import comparison_png
from tasks.reporting.report import report_path, write_report
from tasks.reporting.tabular_charts import fit_png
from tasks.reporting.tabular_page import headline, tabular_rows, write_tabular

_SECONDS_BETWEEN_UPDATES = 2.0
_last_update: dict[UUID, float] = {}


@task(name="Write the report", cache_policy=NO_CACHE, log_prints=False)
def write_run_report(history: RunHistory, folder: str) -> str:
    """Write the report of a run below the output folder.

    Returns:
        The absolute path, `<folder>/reports/<run id>.html`.
    """
    return str(write_report(history, report_path(history, folder)))


@task(name="Publish artifacts", cache_policy=NO_CACHE, log_prints=False)
def publish_artifacts(history: RunHistory, report_path: str) -> None:
    """Show summary, results and the comparison chart on the flow run's page."""
    create_markdown_artifact(summary_markdown(history, report_path), key="run-summary")
    rows = results_rows(history)
    if rows:
        create_table_artifact(
            rows, key="run-results", description="Test window, per silo and all silos."
        )
        create_image_artifact(
            comparison_png(history),
            key="run-comparison",
            description="Every model on the test window, per silo and all silos.",
        )


@task(name="Write the audit page", cache_policy=NO_CACHE, log_prints=False)
def write_audit_page(result: AuditResult, folder: str) -> str:
    """Write the page of an audit, and show its figures on the flow run's page.

    Returns:
        The absolute path, `<folder>/audits/<audit id>.html`.
    """
    path = str(write_audit(result, folder))
    create_table_artifact(
        audit_rows(result),
        key="privacy-audit",
        description=f"{result.verdict.value}: {result.sentence} Page: {path}",
    )
    return path


@task(name="Write the page of the example", cache_policy=NO_CACHE, log_prints=False)
def write_tabular_page(result: TabularResult, folder: str) -> str:
    """Write page and pictures of a worked example; show them on the flow run's page.

    Returns:
        The absolute path, `<folder>/tabular/<run id>.html`.
    """
    path = str(write_tabular(result, folder))
    create_table_artifact(
        tabular_rows(result),
        key="tabular-results",
        description=f"{headline(result)} Page: {path}",
    )
    create_image_artifact(
        fit_png(result), key="tabular-fit", description="Rows and models."
    )
    return path


def start_progress(total: int) -> UUID:
    """A progress artifact for a run of `total` rounds; returns its id."""
    created = create_progress_artifact(0.0, key="rounds", description=f"{total} rounds")
    return cast(UUID, created)


def update_progress(artifact: UUID, fraction: float) -> None:
    """Move the progress artifact; skipped within 2 s of the last move, except 1.0."""
    now = time.monotonic()
    recent = now - _last_update.get(artifact, -_SECONDS_BETWEEN_UPDATES)
    if fraction < 1.0 and recent < _SECONDS_BETWEEN_UPDATES:
        return
    _last_update[artifact] = now
    update_progress_artifact(artifact, 100.0 * fraction)

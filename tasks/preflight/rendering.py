"""A preflight for the terminal, and as plain dictionaries for `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from data_contracts.preflight import (
    CanaryRound,
    CheckStatus,
    PreflightReport,
    RunEstimate,
)

_STYLES = {
    CheckStatus.OK: "green",
    CheckStatus.WARNING: "yellow",
    CheckStatus.FAILED: "bold red",
}
_MEGA = 1e6


def as_json(report: PreflightReport) -> dict[str, Any]:
    """The report as nested dictionaries, with what follows from it."""
    told = asdict(report) | {"passed": not report.failed}
    if report.estimate:
        told["estimate"]["total_seconds"] = report.estimate.total_seconds
    return told


def preflight_view(report: PreflightReport) -> RenderableType:
    """Checks, then silos, then what the real run would take."""
    parts: list[RenderableType] = [_checks(report)]
    if report.canary and report.canary.silos:
        parts += ["", _silos(report.canary)]
    if report.estimate:
        parts += ["", _estimate(report.estimate)]
    return Group(*parts)


def in_time(seconds: float) -> str:
    """Example: `in_time(7300)` is `2 h 01 min`.

    >>> in_time(3.21), in_time(75.2), in_time(7300)
    ('3.2 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def check_rows(report: PreflightReport) -> list[dict[str, str]]:
    """One row per check."""
    return [
        {
            "check": check.name,
            "status": check.status.value,
            "found": check.sentence,
            "to do": check.remedy,
        }
        for check in report.checks
    ]


def estimate_lines(told: RunEstimate) -> dict[str, str]:
    """What it is -> how much of it, as a person reads it."""
    lines = {
        "until the first round": in_time(told.before_seconds),
        "each round": in_time(told.round_seconds),
        "test and comparisons": in_time(told.after_seconds),
        "in all": in_time(told.total_seconds),
        "sent by all silos": f"{told.bytes_up / _MEGA:.1f} MB",
        "sent to all silos": f"{told.bytes_down / _MEGA:.1f} MB",
        "memory of the largest silo": f"{told.memory_bytes / _MEGA:.0f} MB",
        "disk in the output folder": f"{told.disk_bytes / _MEGA:.1f} MB",
    }
    if told.cost is not None:
        lines["cost"] = f"{told.cost:.2f}"
    return lines


def _checks(report: PreflightReport) -> Table:
    table = _table("check", "", "what was found, and what to do")
    for check in report.checks:
        style = _STYLES[check.status]
        text = Text(check.sentence)
        if check.remedy:
            text.append(f"\n-> {check.remedy}", style=style)
        table.add_row(check.name, Text(check.status.value, style=style), text)
    return table


def _silos(canary: CanaryRound) -> Table:
    table = _table(
        "silo", "s per batch", "s per round", "s to evaluate", "peak MB", "MB sent"
    )
    for silo, one in canary.silos.items():
        table.add_row(
            silo,
            f"{one.training.seconds_per_batch:g}",
            f"{one.training.round_seconds:g}",
            f"{one.evaluation.round_seconds:g}",
            f"{one.resources.peak_memory_bytes / _MEGA:.0f}",
            f"{one.bytes_up / _MEGA:.2f}",
        )
    return table


def _estimate(told: RunEstimate) -> Table:
    table = _table(f"the real run, all {told.rounds} rounds", "about")
    for name, value in estimate_lines(told).items():
        table.add_row(name, value)
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)

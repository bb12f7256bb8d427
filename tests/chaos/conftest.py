"""What the suite found: figures at its end, and the table in the documentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.matrix import FAULTS_PLAYED, PLAYED, with_tables
from tests.chaos.schedule_figures import say_schedule_figures


def pytest_addoption(parser):
    parser.addoption("--matrix", help="document whose table is written anew")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    say_schedule_figures(terminalreporter.write_line)
    for what, played, goal in (
        ("kill_points", PLAYED, ">= 30"),
        ("fault_rows", FAULTS_PLAYED, ">= 40"),
    ):
        if played:
            identical = sum(end.identical for end in played.values())
            _say(terminalreporter, what, len(played), goal)
            _say(terminalreporter, f"{what}_bit_identical", identical, "all of them")
    document = config.getoption("--matrix", None)
    if document and (PLAYED or FAULTS_PLAYED):
        path = Path(document)
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")


def _say(terminalreporter, figure, value, goal):
    line = {"figure": figure, "value": value, "unit": "rows", "goal": goal}
    terminalreporter.write_line(json.dumps(line))

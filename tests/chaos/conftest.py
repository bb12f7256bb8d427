"""What the suite found: figures at its end, and the table in the documentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.matrix import PLAYED, with_table
from tests.chaos.schedule_figures import say_schedule_figures


def pytest_addoption(parser):
    parser.addoption("--matrix", help="document whose table is written anew")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    say_schedule_figures(terminalreporter.write_line)
    if not PLAYED:
        return
    identical = sum(end.identical for end in PLAYED.values())
    figures = {
        "kill_points": (len(PLAYED), ">= 30"),
        "kill_points_bit_identical": (identical, "all of them"),
    }
    terminalreporter.write_line("")
    for name, (value, goal) in figures.items():
        line = {"figure": name, "value": value, "unit": "points", "goal": goal}
        terminalreporter.write_line(json.dumps(line))
    if document := config.getoption("--matrix", None):
        path = Path(document)
        path.write_text(with_table(PLAYED, path.read_text("utf-8")), "utf-8")

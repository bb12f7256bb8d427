"""What the suite found: figures at its end, and the table in the documentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.matrix import PLAYED, with_table


def pytest_addoption(parser):
    parser.addoption("--matrix", help="document whose table is written anew")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    _say_schedules(terminalreporter)
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


def _say_schedules(terminalreporter):
    from tests.chaos.test_schedules import TALLY

    if not TALLY.schedules:
        return
    figures = {
        "chaos_schedules": (TALLY.schedules, ">= 50", "schedules"),
        "lost_rounds": (TALLY.lost_rounds, "0", "rounds"),
        "wrong_models": (TALLY.wrong_models, "0", "models"),
        "double_charges": (TALLY.double_charges, "0", "charges"),
        "hangs": (TALLY.hangs, "0", "commands"),
        "chaos_commands": (sum(TALLY.commands), "", "commands"),
    }
    terminalreporter.write_line("")
    for name, (value, goal, unit) in figures.items():
        line = {"figure": name, "value": value, "unit": unit}
        terminalreporter.write_line(json.dumps(line | ({"goal": goal} if goal else {})))

"""What the suite found: figures at its end, and the table in the documentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.matrix import FAULTS_PLAYED, PLAYED, with_tables


def pytest_addoption(parser):
    parser.addoption("--matrix", help="document whose table is written anew")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    _say_schedules(terminalreporter)
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

"""What the random schedules found: figures for the end of the session."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.chaos.schedule_runs import Findings

PLAYED: dict[int, Findings] = {}
"""Seed -> what became of its schedule; filled by the tests, in any order."""


def say_schedule_figures(say: Callable[[str], None]) -> None:
    """One line of JSON for each figure, if any schedule was played."""
    if not PLAYED:
        return
    found = PLAYED.values()
    figures = {
        "chaos_schedules": (len(found), "schedules", 50),
        "lost_rounds": (sum(one.lost_rounds for one in found), "rounds", 0),
        "wrong_models": (sum(one.wrong_models for one in found), "models", 0),
        "double_charges": (sum(one.double_charges for one in found), "silos", 0),
        "hangs": (sum(one.hang for one in found), "schedules", 0),
    }
    for name, (value, unit, goal) in figures.items():
        line = {"figure": name, "value": value, "unit": unit, "goal": goal}
        say(json.dumps(line))

"""One JSON line per figure, for every benchmark."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any


def say(figure: str, value: float, unit: str, goal: str = "") -> None:
    """Print one figure."""
    _print({"figure": figure, "value": round(value, 4), "unit": unit}, goal)


def say_median(figure: str, values: Sequence[float], unit: str, goal: str = "") -> None:
    """Print the median of several runs, and what each of them gave."""
    told: dict[str, Any] = {
        "figure": figure,
        "value": round(statistics.median(values), 4),
        "unit": unit,
        "runs": [round(value, 4) for value in values],
    }
    _print(told, goal)


def _print(told: dict[str, Any], goal: str) -> None:
    print(json.dumps(told | ({"goal": goal} if goal else {})), flush=True)

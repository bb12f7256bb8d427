"""Sentences of a report, and how loudly they are said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How loudly a sentence is shown."""

    GOOD = "good"
    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True)
class Remark:
    """A sentence and how loudly to show it."""

    tone: Tone
    sentence: str

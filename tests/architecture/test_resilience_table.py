"""The table of kill points is that of the suite, and every point ended well."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.kill_points import COORDINATOR, POINTS, SILO, SMOKE
from tests.chaos.matrix import BEGIN, END

DOCUMENT = Path(__file__).parents[2] / "infra/docs/resilience.md"


def rows() -> list[list[str]]:
    text = DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = text.strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_names_every_kill_point_there_is():
    assert [f"{row[0]}: {row[1]}" for row in rows()] == list(POINTS)


def test_every_kill_point_ended_in_the_same_bytes():
    assert {row[-1] for row in rows()} == {"yes"}


def test_there_are_as_many_points_as_promised():
    assert len(COORDINATOR) >= 20
    assert len(SILO) >= 5
    assert len(SMOKE) >= 6

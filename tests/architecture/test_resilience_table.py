"""The tables of kill points and faults are those of the suite, and all ended well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kill_points import COORDINATOR, SILO, SMOKE
from tests.chaos.matrix import TABLES, Table

DOCUMENT = Path(__file__).parents[2] / "infra/docs/resilience.md"


def rows(table: Table) -> list[list[str]]:
    text = DOCUMENT.read_text("utf-8")
    text = text.partition(f"<!-- {table.mark}: begin")[2].partition("<!-- ")[0]
    lines = text.strip().splitlines()[3:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.mark)
def test_the_table_names_every_row_there_is(table):
    named = [tuple(row[: -len(("command", "resume", "same"))]) for row in rows(table)]
    assert named == list(table.names.values())


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.mark)
def test_every_row_ended_in_the_same_bytes(table):
    assert {row[-1] for row in rows(table)} == {"yes"}


def test_there_are_as_many_points_as_promised():
    assert len(COORDINATOR) >= 20
    assert len(SILO) >= 5
    assert len(SMOKE) >= 6

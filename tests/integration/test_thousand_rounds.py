"""Recording the thousand-and-first round takes little longer than the first."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import maintenance

pytestmark = pytest.mark.slow


def test_a_thousand_rounds_do_not_slow_a_commit_down_by_more_than_two(capsys):
    maintenance.main(rounds=1000)
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    figures = {line["figure"]: line["value"] for line in lines}
    assert figures["commit_ms_after_1000_rounds_over_first"] <= maintenance.GOAL
    assert figures["commit_ms_after_1000_rounds_over_first_maintained"] <= 2

"""`silorec train --example` as a newcomer types it: rows, rounds, page and picture."""

from __future__ import annotations

import re
from html import unescape

import pytest

from data_contracts.exposure import TWO_SILOS_WARNING
from flows.cli import main
from tests.simulators.command_line import sandbox

pytestmark = pytest.mark.slow


def test_the_linear_example_ends_at_the_pooled_line_with_a_picture():
    with sandbox() as machine:
        done = machine.silorec("train", "--example", "linear-regression")
        assert done.returncode == 0, done.stderr
        lines = {
            name: [float(figure) for figure in re.findall(r"-?\d+\.\d+", rest)]
            for name in ("federated", "pooled", "north alone", "south alone")
            for rest in re.findall(rf"^{name}  (.*)$", done.stdout, re.MULTILINE)
        }
        assert set(lines) == {"federated", "pooled", "north alone", "south alone"}
        assert lines["federated"] == pytest.approx(lines["pooled"], abs=5e-3)
        assert lines["federated"][2] < lines["south alone"][2]  # MSE
        told = " ".join((done.stdout + done.stderr).split())
        assert TWO_SILOS_WARNING in told
        [page] = machine.work.glob("silorec_output/tabular/*.html")
        assert TWO_SILOS_WARNING in unescape(page.read_text("utf-8"))
        assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--dataset", "ml-100k"), "--example makes its own rows"),
        (("--schedule.rounds", "3"), "example mlp: schedule: unknown key"),
        (("--tabular.rows", "3"), "tabular.rows: input should be greater"),
        (("--secure-aggregation.ring-bits", "8"), "add all updates up at once"),
    ],
)
def test_what_does_not_go_with_an_example_is_refused_in_a_sentence(
    arguments, told, capsys
):
    assert main(["train", "--example", "mlp", *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())

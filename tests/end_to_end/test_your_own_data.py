"""The page for newcomers with data of their own, typed command by command."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.simulators.command_line import sandbox

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "infra/docs/your_own_data.md"
BLOCK = re.compile(r"(?ms)^```(\w+)\n(.*?)^```")


@pytest.fixture(scope="module")
def typed():
    """(command, what it printed) in the order of the page; a failure ends it."""
    told = []
    with sandbox() as machine:
        for language, body in BLOCK.findall(PAGE.read_text("utf-8")):
            if language == "yaml":
                (machine.work / "shops.yaml").write_text(body)
            for command in commands_in(language, body):
                ours = command[0] == "silorec"
                done = machine.silorec(*command[1:]) if ours else machine.run(command)
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                told.append((" ".join(command), done.stdout))
        yield told


def commands_in(language: str, body: str) -> list[list[str]]:
    if language == "python":
        return [[sys.executable, "-c", body]]
    if language != "console":
        return []
    return [shlex.split(line[2:]) for line in body.splitlines() if line[:2] == "$ "]


def printed(typed, beginning: str) -> str:
    (found,) = [text for command, text in typed if command.startswith(beginning)]
    return found


def test_every_command_of_the_page_succeeds(typed):
    names = [command.split()[1] for command, _ in typed if command[:7] == "silorec"]
    assert names == [
        "check", "train", "models", "models", "models", "recommend", "retrain",
    ]  # fmt: skip


def test_each_says_what_the_page_says(typed):
    assert "What joining brings" in printed(typed, "silorec train")
    assert "is the champion of shops" in printed(typed, "silorec models promote")
    assert "# Model card: shops" in printed(typed, "silorec models card")
    assert "nothing new" in printed(typed, "silorec retrain")
    told = printed(typed, "silorec recommend")
    assert all(silo in told for silo in ("north", "south", "west"))


def test_the_recommendations_are_there_to_be_read(typed):
    shown = [text for command, text in typed if "deltalake" in command]
    assert "north-" in shown[0]
    assert "'rank': [1, 2, 3, 4, 5]" in shown[0]

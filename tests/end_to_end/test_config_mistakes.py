"""Mistakes in a configuration: exit status 2 and a sentence for each of them."""

from __future__ import annotations

import pytest

from tests.simulators.command_line import sandbox

pytestmark = pytest.mark.slow

MISTAKES = {
    "an unknown section": (
        "data: {dataset: ml-100k}\nmodell: {dim: 16}",
        ["silorec: run.yaml: modell: unknown key; `silorec init` lists every key"],
    ),
    "an unknown key": (
        "data: {dataset: ml-100k}\nmodel: {dims: 16}",
        ["silorec: run.yaml: model.dims: unknown key"],
    ),
    "several mistakes": (
        "data: {dataset: ml-100k}\nmodel: {dim: wide}\nschedule: {rounds: 0}",
        ["run.yaml: model.dim: ", "run.yaml: schedule.rounds: "],
    ),
    "no data": ("name: empty", ["no silo has data: set data.dataset"]),
    "not YAML": ("data: [", ["run.yaml: not valid YAML in line"]),
}


@pytest.fixture(scope="module")
def machine():
    with sandbox() as made:
        yield made


@pytest.mark.parametrize(("text", "sentences"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("command", ["check", "train"])
def test_every_mistake_is_named_and_nothing_is_started(
    machine, command, text, sentences
):
    (machine.work / "run.yaml").write_text(text, "utf-8")
    done = machine.silorec(command, "run.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == len(sentences)
    for line, sentence in zip(lines, sentences, strict=True):
        assert sentence in line
    assert not (machine.work / "silorec_output").exists()

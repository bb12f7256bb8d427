"""The page of training algorithms says what the configuration accepts and refuses."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from data_contracts.errors import ConfigError
from data_contracts.presets import merged
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from data_contracts.settings.training import LocalTrainingConfig, ServerOptimizerConfig
from tasks.lineage.recorded_rounds import remembers

PAGE = Path(__file__).parents[2] / "infra/docs/algorithms.md"
BASE = {"data": {"dataset": "ml-100k"}, "privacy": {"declared_users": 1000}}


def tables_in(text: str) -> list[list[list[str]]]:
    """The cells of every table, heading first, without the line below it."""
    found = re.findall(r"(?m)(?:^\|.*\n)+", text)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        for lines in (
            [line for line in table.splitlines() if "---" not in line]
            for table in found
        )
    ]


def asked_for(cell: str) -> dict[str, Any]:
    """The sections that `section.key: value` or `section: {...}` stands for."""
    ((name, value),) = yaml.safe_load(cell.strip("`")).items()
    section, _, key = name.partition(".")
    return {section: {key: value} if key else value}


ALGORITHMS, GOES_WITH = tables_in(PAGE.read_text("utf-8"))
SETTINGS = {name: asked_for(cell) for name, _, cell, _ in ALGORITHMS[1:]}
NAMES = GOES_WITH[0][1:]
ROWS = {row[0]: dict(zip(NAMES, row[1:], strict=True)) for row in GOES_WITH[1:]}
CASES = [
    (name, cell, told)
    for cell, row in ROWS.items()
    if cell.startswith("`")
    for name, told in row.items()
]


def configured(*sections: dict[str, Any]) -> FederatedTrainingConfig:
    tree: dict[str, Any] = BASE
    for one in sections:
        tree = merged(tree, one)
    return parse_config(tree, origin="the page")


def test_both_tables_name_the_same_algorithms():
    assert [*SETTINGS] == NAMES
    assert len(CASES) > 100


def test_every_algorithm_there_is_stands_on_the_page():
    named = {
        (section, key, value)
        for settings in SETTINGS.values()
        for section, values in settings.items()
        for key, value in values.items()
    }
    for model, section, key in (
        (ServerOptimizerConfig, "server_optimizer", "name"),
        (LocalTrainingConfig, "local_training", "drift_correction"),
    ):
        choices = set(get_args(model.model_fields[key].annotation)) - {"none"}
        assert {value for *place, value in named if place == [section, key]} == choices


@pytest.mark.parametrize(("name", "cell", "told"), CASES)
def test_what_is_said_of_a_combination_is_so(name, cell, told):
    if told == "refused":
        configured(asked_for(cell))  # alone it is fine
        setting = next(iter(SETTINGS[name]["local_training"]))
        with pytest.raises(ConfigError) as refused:
            configured(SETTINGS[name], asked_for(cell))
        (sentence,) = refused.value.message.splitlines()
        assert f"local_training.{setting}" in sentence
        assert "; set " in sentence or ": set " in sentence or "set it" in sentence
        return
    config = configured(SETTINGS[name], asked_for(cell))
    assert told == ("yes" if config.privacy.mode != "joint" else "unused")
    moves = config.moving_optimizer == config.server_optimizer
    assert moves is (told == "yes")


@pytest.mark.parametrize(("one", "other"), combinations(NAMES, 2))
def test_local_algorithms_go_with_every_server_optimizer(one, other):
    if not {"FedProx", "SCAFFOLD"}.isdisjoint({one, other}):
        both = configured(SETTINGS[one], SETTINGS[other]).model_dump()
        for settings in (SETTINGS[one], SETTINGS[other]):
            for section, values in settings.items():
                assert both[section] | values == both[section]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_replays_are_as_said(name):
    config = configured(SETTINGS[name])
    numbers = ROWS["numbers sent for each parameter"][name]
    assert int(numbers) == config.local_training.update_vectors
    begins = ROWS["replay begins with"][name]
    assert begins == ("round 1" if remembers(config) else "the round")

"""Benchmarks are run by hand: here they are at least imported, so that none rots."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_imported(name):
    if name == "homomorphic":
        pytest.importorskip("tenseal")
    assert importlib.import_module(f"tests.benchmarks.{name}")


def test_there_are_benchmarks():
    assert {"overhead", "secure_aggregation", "homomorphic"} <= set(NAMES)

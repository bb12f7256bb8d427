"""One complete run over three formats, made once; several tests look at it."""

from __future__ import annotations

import pytest

from tests.simulators.small_federation import FinishedRun, small_config, train
from tests.simulators.three_formats import three_formats


@pytest.fixture(scope="session")
def silos(tmp_path_factory):
    """North brings Parquet, south CSV with its own column names, west Delta."""
    return three_formats(tmp_path_factory.mktemp("silos"))


@pytest.fixture(scope="session")
def finished_run(silos, tmp_path_factory, ray_session, prefect_session) -> FinishedRun:
    """Two rounds of all three silos, with every comparison."""
    return train(small_config(silos, tmp_path_factory.mktemp("output")))

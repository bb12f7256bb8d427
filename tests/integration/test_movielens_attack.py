"""The attack of the privacy guide on the real MovieLens-100K and the default model.

Needs the network once, or the archive in the cache; `SILOREC_CACHE` as elsewhere.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from data_contracts.errors import DataSourceError
from data_contracts.settings.data import DataConfig
from tests.benchmarks.attack_pictures import (
    model_and_people,
    plain_attack,
    private_attacks,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real():
    try:
        return model_and_people(
            os.environ.get("SILOREC_CACHE", DataConfig().cache_folder)
        )
    except DataSourceError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("people", [1, 8, 64])
def test_items_are_recovered_from_a_plain_update_and_not_from_a_private_one(
    people, real
):
    module, histories = real
    behind = histories[:people]
    assert plain_attack(module, behind).recovery.precision > 0.95
    private = [a.recovery.area for a in private_attacks(module, behind, 10)]
    assert 0.4 < np.mean(private) < 0.6

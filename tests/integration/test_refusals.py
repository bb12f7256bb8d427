"""Runs that cannot be: the command says why in a sentence and exits accordingly."""

from __future__ import annotations

import pytest
import yaml

from data_contracts.records import RunStatus
from data_contracts.settings.cohort import ComputeConfig
from flows.cli import main
from tasks.cohort import staff
from tasks.lineage.queries import runs
from tasks.lineage.store import LineageStore
from tests.simulators.small_federation import small_tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_session", "prefect_session"),
]


@pytest.fixture
def train(tmp_path, capsys):
    """`silorec train FILE` on a tree of settings: (exit status, stderr)."""

    def run(tree):
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(tree), "utf-8")
        status = main(["train", str(path)])
        return status, capsys.readouterr().err

    return run


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_an_unknown_silo_of_a_public_data_set_is_a_config_error(train, tmp_path):
    status, told = train(
        {
            "output_folder": str(tmp_path / "output"),
            "data": {"dataset": "ml-100k", "cache_folder": str(tmp_path / "cache")},
            "cohort": {"silos": [{"name": "nowhere"}]},
        }
    )
    assert status == 2
    assert "silorec: cohort.silos: nowhere is no silo of ml-100k" in last_line(told)


def test_a_lost_quorum_stops_the_run_and_names_the_missing_silo(train, tmp_path, silos):
    gone = silos[0].interactions.model_copy(update={"path": str(tmp_path / "gone.csv")})
    members = (silos[0].model_copy(update={"interactions": gone}), *silos[1:])
    status, told = train(small_tree(members, tmp_path / "output"))
    assert status == 1
    assert "2 silos passed the data contract, fewer than cohort.min_silos 3" in told
    assert "silo north is quarantined" in last_line(told)
    (run,) = runs(LineageStore(tmp_path / "output"))
    assert run.status == RunStatus.FAILED
    assert "fewer than cohort.min_silos 3" in run.message


def test_hardware_that_no_node_offers_is_a_config_error(
    train, tmp_path, silos, monkeypatch
):
    monkeypatch.setattr(staff, "START_SECONDS", 8.0)
    wants = ComputeConfig(custom_resources={"silo:moon": 1})
    members = [silos[0].model_copy(update={"compute": wants}), *silos[1:]]
    status, told = train(small_tree(members, tmp_path / "output"))
    assert status == 2
    assert "silo north could not start in 8 s: no Ray node offers" in last_line(told)
    assert "{'silo:moon': 1.0}" in last_line(told)
    (run,) = runs(LineageStore(tmp_path / "output"))
    assert run.status == RunStatus.FAILED

"""Against a Prefect server and a three-node Ray cluster, by addresses alone."""

from __future__ import annotations

import pytest

from data_contracts.records import RunStatus
from data_contracts.run_config import ClusterConfig
from data_contracts.settings.cohort import ComputeConfig
from data_contracts.workspace import SiloWorkspace
from tasks.cohort.actor import ray_cohort
from tasks.lineage.queries import runs
from tasks.lineage.store import LineageStore
from tests.simulators.three_formats import SILOS

pytestmark = pytest.mark.slow


def test_the_run_ends_on_the_cluster_and_is_recorded(deployed_run):
    assert deployed_run.done.returncode == 0, deployed_run.done.stderr
    (run,) = runs(LineageStore(deployed_run.sandbox.folder / "output"))
    assert run.status == RunStatus.COMPLETED


def test_the_server_shows_the_flow_run_with_its_task_runs_and_artifacts(
    deployed_run, deployed_server
):
    (flow_run,) = deployed_server.ask("flow_runs/filter")
    assert (flow_run["name"], flow_run["state_type"]) == ("small", "COMPLETED")
    names = {run["name"] for run in deployed_server.ask("task_runs/filter", limit=200)}
    assert {"prepare-silos", "round-1-train", "round-2-record"} <= names
    artifacts = {shown["key"] for shown in deployed_server.ask("artifacts/filter")}
    assert {"rounds", "run-summary", "run-results", "run-comparison"} <= artifacts


def test_the_server_knows_no_embedded_one_was_started(deployed_run):
    assert not deployed_run.sandbox.database.exists()


def test_the_cluster_is_left_running_without_silos(
    deployed_run, ray_cluster, ray_session
):
    import ray

    assert len([node for node in ray.nodes() if node["Alive"]]) == 1 + len(SILOS)
    assert ray.available_resources()["silo:north"] == 1


def node_of(workspace: SiloWorkspace) -> str:
    """A step: where does this silo run?"""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def test_each_silo_runs_on_the_node_that_offers_its_resource(
    own_tables, tmp_path, ray_session
):
    import ray

    offered = {
        resource: node["NodeID"]
        for node in ray.nodes()
        for resource in node["Resources"]
        if resource.startswith("silo:")
    }
    silos = [
        silo.model_copy(
            update={"compute": ComputeConfig(custom_resources={f"silo:{silo.name}": 1})}
        )
        for silo in own_tables
    ]
    cluster = ClusterConfig()
    with ray_cohort(silos, run_id="run", folder=tmp_path, cluster=cluster) as cohort:
        told = cohort.call(node_of)
    assert not told.failures
    assert dict(told.values) == {silo: offered[f"silo:{silo}"] for silo in SILOS}
    assert len(set(told.values.values())) == len(SILOS)

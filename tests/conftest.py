"""What the slow tier shares: one Ray cluster and one Prefect server per session.

Imports stay inside the fixtures: the fast tier needs neither Ray nor Prefect.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flows  # noqa: F401 - telemetry off, before Prefect and Ray are loaded

# Read once, when Prefect is loaded, which test modules do while they are collected.
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
# As in a silo's actor: on a busy machine, threads that wait for each other over tiny
# tensors take a hundred times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")

SERVER_SECONDS = 120
NODES = ("north", "south", "west")


@pytest.fixture(scope="session")
def ray_cluster():
    """Three Ray nodes beside the head, each with the resource `silo:<name>`."""
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 16, **store})
    for name in NODES:
        cluster.add_node(num_cpus=2, resources={f"silo:{name}": 1}, **store)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="session")
def ray_session(ray_cluster):
    """This process connected to the cluster, as a run finds it."""
    import ray

    ray.init(address=ray_cluster.address, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def prefect_session():
    """A Prefect server with an empty database, without the 1 s heartbeat thread."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=SERVER_SECONDS),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def prefect_server():
    """A Prefect server in a process of its own, reached by address."""
    from tests.simulators.prefect_server import started_server

    with started_server() as server:
        yield server


@pytest.fixture(scope="session")
def silorec_cache() -> Path:
    """Where public data sets are kept; `SILOREC_CACHE` names another folder."""
    from data_contracts.settings.data import DataConfig

    folder = os.environ.get("SILOREC_CACHE", DataConfig().cache_folder)
    return Path(folder).expanduser()

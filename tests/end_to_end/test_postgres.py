"""Production settings: PostgreSQL, a password, loopback, and a worker that trains."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.parse
from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.records import RunStatus
from tasks.lineage.queries import runs
from tasks.lineage.store import LineageStore
from tests.end_to_end.conftest import write_config
from tests.simulators.command_line import sandbox
from tests.simulators.postgresql import started_postgresql
from tests.simulators.prefect_server import started_server
from tests.simulators.small_federation import small_tree

pytestmark = pytest.mark.slow

AUTH = "silorec:a-long-password"
PREFECT = (sys.executable, "-m", "prefect")


@pytest.fixture(scope="module")
def database():
    with started_postgresql() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def server(database):
    with started_server(
        AUTH, PREFECT_SERVER_DATABASE_CONNECTION_URL=database.url
    ) as own:
        yield own


@pytest.fixture(scope="module")
def machine(server):
    with sandbox(PREFECT_API_URL=server.api, PREFECT_API_AUTH_STRING=AUTH) as own:
        yield own


@pytest.fixture(scope="module")
def worked(machine, own_tables):
    """A federation that was deployed, started by name, and trained by a worker."""
    tree = small_tree(own_tables, machine.folder / "output", name="weekly")
    write_config(machine, tree)
    said = [
        machine.silorec("deploy", "--config", "run.yaml", "--only", "train"),
        machine.run([*PREFECT, "deployment", "run", "federated-training/weekly-train"]),
        machine.run([*PREFECT, "worker", "start", "--pool", "silorec", "--run-once"]),
    ]
    for done in said:
        assert done.returncode == 0, done.stdout + done.stderr
    return said[-1]


def test_a_worker_trains_what_was_deployed(worked, machine, server):
    (run,) = runs(LineageStore(machine.folder / "output"))
    assert (run.name, run.status) == ("weekly", RunStatus.COMPLETED)
    (flow_run,) = server.ask("flow_runs/filter")
    assert flow_run["state_type"] == "COMPLETED", worked.stdout + worked.stderr
    assert flow_run["work_queue_name"] == "weekly"
    assert run.flow_run_id == flow_run["id"]


def test_the_record_of_prefect_lies_in_postgresql(worked, database, machine):
    assert database.ask("select count(*) from flow_run") == "1"
    names = set(database.ask("select name from task_run").splitlines())
    assert {"round-1-train", "round-2-record"} <= names
    assert not machine.database.exists()


def test_the_run_leaves_no_result_that_a_server_could_unpickle(worked, machine):
    stored = machine.home / ".prefect" / "storage"
    assert [path for path in stored.rglob("*") if path.is_file()] == []


def test_the_log_of_the_worker_is_lines_of_json_that_name_the_run(worked, machine):
    (run,) = runs(LineageStore(machine.folder / "output"))
    told = [
        json.loads(line)
        for line in (worked.stdout + worked.stderr).splitlines()
        if line.startswith("{")
    ]
    rounds = [one for one in told if one["event"] == "round"]
    assert [one["round"] for one in rounds] == [1, 2]
    assert {one["run"] for one in rounds} == {run.run_id}


def test_without_the_password_the_server_tells_nothing(server):
    for auth in ("", "silorec:wrong"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            replace(server, auth=auth).ask("flow_runs/filter")


def test_a_command_without_the_password_says_what_is_missing(server):
    with sandbox(PREFECT_API_URL=server.api) as stranger:
        done = stranger.silorec("deploy")
    assert done.returncode == 2
    assert "status 401; set PREFECT_API_AUTH_STRING" in done.stderr


def test_the_server_listens_on_this_machine_only(server):
    port = urllib.parse.urlsplit(server.api).port
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]

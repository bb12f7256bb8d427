"""Weeks of a federation in minutes: a real server, a worker, tables that grow.

Four retrainings on growing tables: the first model, one refused by the data contract,
one by the gate, one promoted; then the last is served, and a browser looks at it all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from data_contracts.presets import merged
from data_contracts.records import RetrainingRecord
from data_contracts.settings.serving import ServingConfig
from tasks.lineage.registry import read_registry
from tasks.lineage.store import LineageStore
from tests.end_to_end.conftest import write_config
from tests.simulators.browser import installed_browser
from tests.simulators.command_line import Sandbox, sandbox
from tests.simulators.growing_tables import GrowingSilo
from tests.simulators.prefect_server import PrefectServer, started_server
from tests.simulators.small_federation import small_tree
from tests.simulators.synthetic_tables import small_silos

pytestmark = pytest.mark.service

PREFECT = (sys.executable, "-m", "prefect")
SILOS = ("north", "south", "west")
SETTINGS = {
    "name": "weekly",
    "cohort": {"min_silos": 2},
    "contracts": {"min_interactions": 100},
    "evaluation": {"local_only": False},
    "local_training": {"epochs": 2},
    # Whether a small model is better by chance is not what this is about.
    "retraining": {"max_regression": 1.0, "max_silo_regression": 1.0},
}
WORTHLESS = {"local_training": {"learning_rate": 9.0}}
TOO_STRICT = {"retraining": {"max_regression": 0.0, "max_silo_regression": 0.0}}


@dataclass(frozen=True)
class Service:
    """A deployed federation.

    Attributes:
        machine: where commands are typed.
        server: its Prefect server.
        tree: its configuration.
        silos: by name.
    """

    machine: Sandbox
    server: PrefectServer
    tree: dict
    silos: dict[str, GrowingSilo]

    @property
    def store(self) -> LineageStore:
        return LineageStore(self.machine.folder / "output")

    def retrain(self, **sections) -> RetrainingRecord:
        """One flow run of the deployment, by a worker; what it put on record."""
        parameters = json.dumps({"config": merged(self.tree, sections)})
        name = "scheduled-retraining/weekly-retrain"
        for command in (
            ["deployment", "run", name, "--params", parameters],
            ["worker", "start", "--pool", "silorec", "--run-once"],
        ):
            done = self.machine.run([*PREFECT, *command])
            assert done.returncode == 0, done.stdout + done.stderr
        return self.store.read(RetrainingRecord)[-1]


@pytest.fixture(scope="module")
def service():
    with (
        started_server() as server,
        sandbox(PREFECT_API_URL=server.api) as machine,
    ):
        configs = small_silos(machine.folder / "tables", SILOS)
        silos = {config.name: GrowingSilo(config) for config in configs}
        tree = small_tree(configs, machine.folder / "output", **SETTINGS)
        write_config(machine, tree)
        done = machine.silorec("deploy", "--config", "run.yaml", "--only", "retrain")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Service(machine, server, tree, silos)


@pytest.fixture(scope="module")
def ended(service):
    """The four retrainings, one after the other."""
    north = service.silos["north"]
    for silo in service.silos.values():
        silo.show(0.6)
    first = service.retrain()
    north.show(0.7)
    north.spoil()
    by_contract = service.retrain()
    north.show(0.8)
    by_gate = service.retrain(**merged(WORTHLESS, TOO_STRICT))
    north.show(0.9)
    return [first, by_contract, by_gate, service.retrain()]


def test_each_ends_as_it_should(ended):
    assert [record.outcome for record in ended] == [
        "promoted",
        "refused by the data contract",
        "refused by the gate",
        "promoted",
    ]


def test_the_record_tells_it_all(ended, service):
    told = service.machine.silorec(
        "models", "list", "--json", "--output-folder", service.machine.folder / "output"
    )
    found = json.loads(told.stdout)
    assert len(found["retrainings"]) == 4
    champions = [m["model_sha256"] for m in found["moves"] if m["stage"] == "champion"]
    assert champions == [ended[0].challenger_sha256, ended[3].challenger_sha256]
    assert "rating" in found["retrainings"][1]["sentence"]


def test_the_server_shows_every_flow_run_as_completed(ended, service):
    shown = service.server.ask("flow_runs/filter")
    outer = [run["state_type"] for run in shown if run["deployment_id"]]
    assert outer.count("COMPLETED") == 4
    # The rest are those that the schedule of the deployment has planned.
    assert set(outer) == {"COMPLETED", "SCHEDULED"}


def test_the_last_champion_is_what_is_served(ended, service):
    from flows.serving import source_of

    folder = str(service.machine.folder / "output")
    source = source_of(ServingConfig(output_folder=folder, silo="north"))
    assert source.wanted() == ended[3].challenger_sha256
    served = source.load(source.wanted(), source.people())
    assert len(served.answer(("i00001", "i00002"), k=5).items) == 5


def test_metrics_tell_of_the_champion(ended, service):
    told = service.machine.silorec(
        "metrics", service.machine.folder / "output", "--once"
    )
    assert told.returncode == 0, told.stderr
    assert ended[3].challenger_sha256[:12] in told.stdout


def test_going_back_is_one_command(ended, service):
    folder = service.machine.folder / "output"
    told = service.machine.silorec("models", "rollback", "--output-folder", folder)
    assert told.returncode == 0, told.stderr
    champion = read_registry(LineageStore(folder), "weekly").champion
    assert champion is not None
    assert champion.sha256 == ended[0].challenger_sha256


def test_a_browser_shows_the_run_and_the_report(ended, service, tmp_path):
    browser = installed_browser(tmp_path / "profile")
    (run, *_) = [
        run
        for run in service.server.ask("flow_runs/filter")
        if run["deployment_id"] and run["state_type"] == "COMPLETED"
    ]
    page = service.server.api.removesuffix("/api")
    url = f"{page}/runs/flow-run/{run['id']}"
    try:
        assert "weekly" in browser.text(url)
        (report, *_) = sorted((service.machine.folder / "output/reports").glob("*"))
        assert "NDCG" in browser.text(report.as_uri())
        for name, address in (("run", url), ("report", report.as_uri())):
            picture = browser.picture(address, tmp_path / f"{name}.png")
            assert picture.startswith(b"\x89PNG")
            assert len(picture) > 20_000
    except subprocess.TimeoutExpired:
        pytest.skip("the browser does not answer on this machine")

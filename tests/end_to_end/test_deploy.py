"""`silorec deploy` against a Prefect server of its own."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from data_contracts.presets import PRESETS
from flows.deployments import SIDE_QUEUE, TABLE
from tests.simulators.command_line import sandbox
from tests.simulators.prefect_server import started_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture(scope="module")
def server():
    with started_server() as own:
        yield own


@pytest.fixture(scope="module")
def machine(server):
    with sandbox(PREFECT_API_URL=server.api, SILOREC_WEBHOOK_URL=HOOK) as own:
        yield own


@pytest.fixture(scope="module")
def deployed(machine):
    """What a dry run, the first and the second deployment say."""
    dry, first, second = (
        machine.silorec("deploy", *flags) for flags in (["--dry-run"], [], [])
    )
    return dry, first, second


def state_of(server) -> dict[str, list]:
    """Everything that `silorec deploy` may touch, without times of the server."""
    return {
        path: sorted(map(told_without_times, server.ask(path)))
        for path in (
            "deployments/filter", "work_pools/filter", "work_queues/filter",
            "automations/filter", "block_documents/filter",
        )
    }  # fmt: skip


def told_without_times(shown: dict) -> str:
    moving = {"updated", "created", "last_polled", "status", "version_id"}
    moving |= {"version_info", "is_default"}
    return json.dumps({k: v for k, v in shown.items() if k not in moving}, default=str)


def test_a_dry_run_tells_and_changes_nothing(deployed):
    dry, first, _ = deployed
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count(": created") == first.stdout.count(": created") > 0


def test_every_deployment_is_there_with_its_form_queue_and_limit(deployed, server):
    _, first, _ = deployed
    assert first.returncode == 0, first.stderr
    shown = {told["name"]: told for told in server.ask("deployments/filter")}
    entries = {f"movielens-100k-{entry.name}": entry for entry in TABLE}
    assert set(shown) == set(entries)
    for name, entry in entries.items():
        told = shown[name]
        assert told["entrypoint"] == entry.entrypoint
        assert "config" in told["parameter_openapi_schema"]["properties"]
        assert told["enforce_parameter_schema"]
        assert told["work_queue_name"] == (
            "movielens-100k" if entry.trains else SIDE_QUEUE
        )
        assert [s["schedule"]["cron"] for s in told["schedules"]] == (
            [entry.cron] if entry.cron else []
        )
    assert shown["movielens-100k-train"]["global_concurrency_limit"]["limit"] == 1
    queues = {told["name"]: told for told in server.ask("work_queues/filter")}
    assert queues["movielens-100k"]["concurrency_limit"] == 1


def test_deploying_again_changes_nothing(machine, server, deployed):
    _, _, second = deployed
    before = state_of(server)
    again = machine.silorec("deploy")
    assert state_of(server) == before
    for told in (second, again):
        assert ": created" not in told.stdout
        assert ": updated" not in told.stdout


def test_failures_silence_and_spent_budgets_have_their_automation(deployed, server):
    shown = {told["name"]: told for told in server.ask("automations/filter")}
    assert len(shown) == 4
    silent = shown["silorec: silent runs have crashed"]
    assert silent["trigger"]["posture"] == "Proactive"
    assert silent["actions"][0]["state"] == "CRASHED"
    called = [one for told in shown.values() for one in told["actions"]]
    assert [one["type"] for one in called].count("call-webhook") == 2


def test_the_address_of_the_webhook_is_not_shown(deployed, server):
    _, first, _ = deployed
    assert HOOK not in first.stdout
    (block,) = server.ask("block_documents/filter")
    assert block["name"] == "silorec-notifications"
    assert HOOK not in json.dumps(block)


def test_a_configuration_gives_its_name_to_its_own_deployments(machine, server):
    tree = {**PRESETS["ml-1m"], "output_folder": "/srv/silorec"}
    (machine.work / "own.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    done = machine.silorec(
        "deploy", "--config", "own.yaml", "--only", "maintain", "--cron", "0 1 * * *"
    )
    assert done.returncode == 0, done.stderr
    shown = {told["name"]: told for told in server.ask("deployments/filter")}
    own = shown["movielens-1m-maintain"]
    assert own["parameters"]["config"] == {"output_folder": "/srv/silorec"}
    assert own["schedules"][0]["schedule"]["cron"] == "0 1 * * *"
    assert "movielens-1m-train" not in shown


def test_a_change_is_made_and_a_pause_is_kept(machine, server, deployed):
    (paused,) = (
        told
        for told in server.ask("automations/filter")
        if told["name"] == "silorec: silent runs have crashed"
    )
    patch(f"{server.api}/automations/{paused['id']}", {"enabled": False})
    done = machine.silorec(
        "deploy", "--only", "audit", "--folder", str(machine.folder / "elsewhere")
    )
    assert "movielens-100k-audit: updated" in done.stdout, done.stderr
    shown = {told["name"]: told for told in server.ask("automations/filter")}
    assert shown["silorec: silent runs have crashed"]["enabled"] is False


def patch(url: str, told: dict) -> None:
    request = urllib.request.Request(
        url,
        json.dumps(told).encode(),
        {"Content-Type": "application/json"},
        method="PATCH",
    )
    urllib.request.urlopen(request, timeout=30).close()


def test_prefects_own_command_takes_the_file(server, machine, deployed):
    before = {told["name"]: told for told in server.ask("deployments/filter")}
    done = machine.run(
        [
            sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all",
            "--prefect-file", str(ROOT / "infra/prefect.yaml"),
        ]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    after = {told["name"]: told for told in server.ask("deployments/filter")}
    for name in before:
        for what in ("entrypoint", "work_queue_name", "parameters", "description"):
            assert after[name][what] == before[name][what]


def test_a_server_that_is_not_there_is_one_sentence():
    with sandbox(PREFECT_API_URL="http://127.0.0.1:9/api") as own:
        done = own.silorec("deploy")
    assert done.returncode == 2
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr

"""The table of deployments, and what is made of it without a server."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from data_contracts.privacy_plan import NEARLY_SPENT_SHARE, BudgetStatement
from flows import cli
from flows.deployments import EXAMPLE, JOB_ENVIRONMENT, TABLE, Plan, chosen
from flows.prefect_yaml import prefect_yaml
from flows.user_interface import _deployments

ROOT = Path(__file__).parents[3]
ENTRIES = {entry.name: entry for entry in TABLE}


@pytest.fixture(params=ENTRIES)
def entry(request):
    return ENTRIES[request.param]


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def plan(**changes) -> Plan:
    values = {
        "federation": "weekly",
        "training": EXAMPLE,
        "entries": tuple(ENTRIES.values()),
        "work_pool": "pool",
        "folder": "/srv",
    }
    return Plan(**values | changes)


def test_an_entry_point_leads_to_a_flow(entry):
    assert isinstance(load_flow_from_entrypoint(entry.entrypoint), Flow)


def test_a_form_is_filled_with_what_its_flow_takes(entry):
    schema = parameter_schema(entry.flow).model_dump()
    jsonschema.validate(entry.parameters(EXAMPLE), schema)
    entry.flow.validate_parameters(entry.parameters(EXAMPLE))


def fields_of(schema: dict) -> dict[str, dict]:
    """Every field of the form and of its sections."""
    sections = {"": schema, **schema.get("definitions", {})}
    return {
        f"{section}.{name}": field
        for section, node in sections.items()
        for name, field in node.get("properties", {}).items()
    }


def told(field: dict, schema: dict, what: str) -> bool:
    """Whether the field has this itself, or the section that it stands for does."""
    stands_for = [field, *field.get("anyOf", ())]
    names = [one.get("$ref", "").rpartition("/")[2] for one in stands_for]
    sections = [schema["definitions"].get(name, {}) for name in names]
    return any(one.get(what) for one in (field, *sections))


def test_every_field_of_a_form_says_what_it_is(entry):
    schema = parameter_schema(entry.flow).model_dump()
    fields = fields_of(schema)
    assert fields
    assert [
        name
        for name, field in fields.items()
        if not (told(field, schema, "title") and told(field, schema, "description"))
    ] == []


def test_what_trains_takes_turns_in_the_queue_of_its_federation():
    queues = {entry.name: plan().queue_of(entry) for entry in ENTRIES.values()}
    assert queues["train"] == "weekly"
    assert queues["preflight"] != "weekly"


def test_two_federations_have_different_names_on_one_server():
    names = {plan(federation=name).name_of(ENTRIES["train"]) for name in ("a", "b")}
    assert names == {"a-train", "b-train"}


def test_a_training_is_tried_again_and_nothing_else():
    retried = {
        entry.name
        for entry in ENTRIES.values()
        if "PREFECT_FLOWS_DEFAULT_RETRIES" in entry.environment
    }
    assert retried == {entry.name for entry in ENTRIES.values() if entry.trains}


def test_a_worker_starts_runs_with_heartbeats_and_without_pickles_or_telemetry():
    assert JOB_ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert JOB_ENVIRONMENT["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"
    assert JOB_ENVIRONMENT["DO_NOT_TRACK"] == "1"


def test_the_user_interface_serves_the_same_table():
    served = {shown.name: shown.entrypoint for shown in _deployments()}
    assert served == {entry.name: entry.entrypoint for entry in ENTRIES.values()}


def test_prefect_yaml_is_written_from_the_table():
    written = (ROOT / "infra/prefect.yaml").read_text("utf-8")
    assert written == prefect_yaml(), "run: make deployments"


def test_prefect_yaml_names_every_deployment_by_its_module():
    told = yaml.safe_load((ROOT / "infra/prefect.yaml").read_text("utf-8"))
    assert {one["entrypoint"] for one in told["deployments"]} == {
        entry.entrypoint for entry in ENTRIES.values()
    }


@pytest.mark.parametrize(("epsilon", "warned"), [(6.3, False), (6.5, True), (9, True)])
def test_a_budget_is_nearly_spent_from_four_fifths_on(epsilon, warned):
    assert NEARLY_SPENT_SHARE == 0.8
    assert BudgetStatement("north", epsilon, 8.0, 1e-5, 1, "").nearly_spent is warned


MISTAKES = {
    "an unknown name": (("--only", "tea"), "there is no deployment tea; the names are"),
    "times of many": (("--cron", "0 3 * * 0"), "--cron needs --only"),
    "no time": (("--only", "maintain", "--cron", "noon"), "'noon' is no time"),
    "no server": ((), "no Prefect server is named: set PREFECT_API_URL"),
    "no file": (("--config", "/nowhere.yaml"), "/nowhere.yaml"),
}


@pytest.mark.parametrize(("words", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence(words, sentence, no_server, capsys):
    assert cli.main(["deploy", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_only_what_is_named_is_chosen():
    assert [entry.name for entry in chosen(["maintain"])] == ["maintain"]
    assert chosen([]) == TABLE

"""The dashboard, the alert rules and the scrape configuration ask for what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from data_contracts.privacy_plan import NEARLY_SPENT_SHARE
from tasks.observability.catalogue import METRICS, SERVING_METRICS
from tasks.observability.exporter import OWN_METRICS

INFRA = Path(__file__).parents[3] / "infra"
DASHBOARD = json.loads((INFRA / "grafana/silorec.json").read_text("utf-8"))
RULES = yaml.safe_load((INFRA / "prometheus/rules.yaml").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
HISTOGRAM = "_bucket", "_sum", "_count"
LABELS = {
    metric.name + "_total" * (metric.kind == "counter"): {
        "federation",
        *metric.labels,
    }
    for metric in METRICS
} | {name: set() for name in OWN_METRICS}


def exported() -> set[str]:
    """Names as Prometheus stores them."""
    seconds = {name for name in SERVING_METRICS if name.endswith("_seconds")}
    return (
        set(LABELS)
        | set(SERVING_METRICS)
        | {name + suffix for name in seconds for suffix in HISTOGRAM}
    )


def asked_of(query: str) -> set[str]:
    """Names of ours that a query asks for."""
    return set(re.findall(r"silorec_[a-z0-9_]+", query))


@pytest.fixture(params=QUERIES)
def query(request):
    return QUERIES[request.param]


@pytest.fixture(params=ALERTS)
def alert(request):
    return ALERTS[request.param]


def test_a_panel_asks_for_metrics_that_are_exported(query):
    assert asked_of(query)
    assert asked_of(query) <= exported()


def test_a_panel_asks_in_valid_promql(query):
    promql_parser.parse(query.replace("$federation", ".*"))


def test_a_legend_names_labels_that_there_are():
    for panel in PANELS:
        for target in panel["targets"]:
            known = {"job", "instance"}.union(
                *(LABELS.get(name, set()) for name in asked_of(target["expr"]))
            )
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= known, panel["title"]


def test_every_metric_of_ours_is_on_the_dashboard():
    shown = {name for query in QUERIES.values() for name in asked_of(query)}
    told = {re.sub(r"_bucket$", "", name) for name in shown}
    assert set(LABELS) | set(SERVING_METRICS) <= told


def test_panels_say_what_they_show_and_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert all(panel["description"].endswith(".") for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(
        DASHBOARD["panels"]
    )


def test_an_alert_asks_for_metrics_that_are_exported_in_valid_promql(alert):
    promql_parser.parse(alert["expr"])
    assert asked_of(alert["expr"])
    assert asked_of(alert["expr"]) <= exported()
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"]["summary"]


def test_the_alert_on_budgets_and_the_event_of_a_run_have_one_limit():
    expression = ALERTS["SilorecPrivacyBudgetNearlySpent"]["expr"]
    assert expression.endswith(f">= {NEARLY_SPENT_SHARE}")


def test_the_scrape_configuration_names_the_rules():
    told = yaml.safe_load((INFRA / "prometheus/prometheus.yaml").read_text("utf-8"))
    assert [INFRA / "prometheus" / name for name in told["rule_files"]] == [
        INFRA / "prometheus/rules.yaml"
    ]
    assert {job["job_name"] for job in told["scrape_configs"]} == {
        "silorec",
        "silorec-serving",
    }

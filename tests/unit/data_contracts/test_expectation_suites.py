"""Suites are data: complete, serialisable, versioned."""

import doctest
import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from data_contracts.columns import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, TableName
from data_contracts.errors import ConfigError
from data_contracts.expectations import suite as suite_module
from data_contracts.expectations.interactions import interactions_suite
from data_contracts.expectations.items import items_suite
from data_contracts.expectations.snapshot import SnapshotFact, snapshot_suite
from data_contracts.expectations.users import users_suite
from data_contracts.run_config import parse_config
from data_contracts.settings.data import ContractConfig

NOW = 1_700_000_000
SUITES = {
    suite.name: suite
    for suite in (
        interactions_suite(ContractConfig(), NOW),
        items_suite(),
        users_suite(),
        snapshot_suite(ContractConfig()),
    )
}
TABLE_SUITES = [SUITES[table.value] for table in TableName]

# (name, version) -> SHA-256 of its expectations under default bounds, cut short.
PUBLISHED = {
    ("interactions", "1"): "5a065a1f77b5d351",
    ("items", "1"): "526562362639732f",
    ("users", "1"): "87e74626c1380888",
    ("snapshot", "1"): "bac43c544be6e9f2",
}


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_a_changed_suite_gets_a_new_version(suite):
    text = json.dumps([asdict(e) for e in suite.expectations], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert PUBLISHED[suite.name, suite.version] == digest, (
        f"raise the version of suite {suite.name} and publish its new digest here"
    )


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_kind_and_column_identify_an_expectation(suite):
    keys = [(e.kind, e.subject) for e in suite.expectations]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("suite", TABLE_SUITES, ids=list(TableName))
def test_every_column_has_a_type_and_required_ones_exist_without_nulls(suite):
    table = TableName(suite.table)
    columns = {kind: set() for kind in ("to_exist", "of_type", "not_be_null")}
    for expectation in suite.expectations:
        for kind, members in columns.items():
            if expectation.kind.endswith(kind):
                members.add(expectation.column)
    assert columns["of_type"] == {
        *REQUIRED_COLUMNS[table],
        *OPTIONAL_COLUMNS[table],
    }
    assert columns["to_exist"] == columns["not_be_null"] == {*REQUIRED_COLUMNS[table]}


def test_optional_columns_that_a_table_lacks_are_not_expected():
    suite = SUITES["interactions"].for_columns(["user_id", "timestamp"])
    columns = {expectation.column for expectation in suite.expectations}
    assert "rating" not in columns
    assert "item_id" in columns, "a missing required column is still expected"


def test_snapshot_suite_rules_on_every_fact():
    columns = {expectation.column for expectation in SUITES["snapshot"].expectations}
    assert columns == set(SnapshotFact)


@pytest.mark.parametrize(
    ("earliest", "expected"),
    [
        (datetime(1970, 1, 2), 86_400),
        (datetime(1970, 1, 2, tzinfo=UTC), 86_400),
        (datetime.fromisoformat("1970-01-02T02:00:00+02:00"), 86_400),
        (datetime(1960, 1, 1, tzinfo=UTC), -int(timedelta(3653).total_seconds())),
    ],
)
def test_timestamps_range_from_earliest_in_utc_until_now(earliest, expected):
    suite = interactions_suite(ContractConfig(earliest=earliest), NOW)
    allowed = [
        expectation.kwargs
        for expectation in suite.expectations
        if expectation.column == "timestamp" and "max_value" in expectation.kwargs
    ]
    assert allowed == [{"min_value": expected, "max_value": NOW}]


def test_rating_bounds_in_the_wrong_order_are_refused():
    bounds = {"contracts": {"rating_min": 5, "rating_max": 1}}
    with pytest.raises(ConfigError, match=r"rating_min 5.0 must not exceed"):
        parse_config({"data": {"dataset": "ml-100k"}, **bounds}, origin="test")


def test_worked_examples_hold():
    outcome = doctest.testmod(suite_module)
    assert outcome.attempted > 0
    assert outcome.failed == 0

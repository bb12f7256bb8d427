"""Every kind of expectation holds where it should, fails where it should, and no
value of a table comes out.
"""

import socket

import pyarrow as pa
import pytest

from data_contracts.expectations.interactions import interactions_suite
from data_contracts.expectations.items import items_suite
from data_contracts.expectations.snapshot import snapshot_suite
from data_contracts.expectations.suite import (
    Expectation,
    Suite,
    between,
    not_null,
    unique,
    unique_together,
)
from data_contracts.expectations.users import users_suite
from data_contracts.settings.data import ContractConfig
from tasks.validation.runner import Outcome, run_suite

pytestmark = pytest.mark.great_expectations

NAN = float("nan")
EXISTS = Expectation("expect_column_to_exist", "a")
FILLED = Expectation("expect_column_value_lengths_to_be_between", "a", {"min_value": 1})


def of_type(name):
    return Expectation("expect_column_values_to_be_of_type", "a", {"type_": name})


# expectation, columns, does it hold, rows that break it
CASES = [
    (EXISTS, {"a": [1]}, True, None),
    (EXISTS, {"b": [1]}, False, None),
    (of_type("str"), {"a": ["x", None]}, True, None),
    (of_type("str"), {"a": [1]}, False, None),
    (of_type("int"), {"a": [1, None]}, True, None),
    (of_type("int"), {"a": [1.0]}, False, None),
    (of_type("float"), {"a": [1.0, None]}, True, None),
    (of_type("float"), {"a": ["1.0"]}, False, None),
    (not_null("a"), {"a": ["x", ""]}, True, 0),
    (not_null("a"), {"a": ["x", None, None]}, False, 2),
    (FILLED, {"a": ["x", None]}, True, 0),
    (FILLED, {"a": ["x", "", ""]}, False, 2),
    (between("a", low=1.0, high=5.0), {"a": [1.0, 5.0, None]}, True, 0),
    (between("a", low=1.0, high=5.0), {"a": [0.9, 5.1, 3.0]}, False, 2),
    (between("a", low=1.0, high=5.0), {"a": [NAN, float("inf")]}, False, 2),
    (between("a", low=10, high=20), {"a": [10, 20, None]}, True, 0),
    (between("a", low=10, high=20), {"a": [9, 21, 15]}, False, 2),
    (between("a", low=2**53, high=2**53), {"a": [2**53 + 1, None]}, False, 1),
    (between("a", high=0), {"a": [0]}, True, 0),
    (between("a", high=0), {"a": [1]}, False, 1),
    (unique("a"), {"a": ["x", "y"]}, True, 0),
    (unique("a"), {"a": ["x", "y", "x"]}, False, 2),
    (unique_together("a", "b"), {"a": ["x", "x"], "b": [1, 2]}, True, 0),
    (unique_together("a", "b"), {"a": ["x", "x", "y"], "b": [1, 1, 1]}, False, 2),
]


def check(expectation, columns):
    suite = Suite("test", "1", "interactions", (expectation,))
    (outcome,) = run_suite(suite, pa.table(columns))
    return outcome


@pytest.mark.parametrize(("expectation", "columns", "success", "rows"), CASES)
def test_expectation_judges_and_counts(expectation, columns, success, rows):
    assert check(expectation, columns) == Outcome(expectation, success, rows)


def test_every_kind_in_use_has_a_passing_and_a_failing_case():
    contracts = ContractConfig()
    suites = (
        interactions_suite(contracts, 0),
        items_suite(),
        users_suite(),
        snapshot_suite(contracts),
    )
    in_use = {
        (e.kind, holds) for s in suites for e in s.expectations for holds in (0, 1)
    }
    assert in_use == {(e.kind, int(success)) for e, _, success, _ in CASES}


def test_outcomes_come_in_the_order_of_the_suite():
    suite = interactions_suite(ContractConfig(), 2**40)
    outcomes = run_suite(suite, pa.table({"user_id": ["x"], "timestamp": [1]}))
    assert tuple(outcome.expectation for outcome in outcomes) == suite.expectations


@pytest.mark.parametrize(
    ("expectation", "columns"),
    [
        (between("a", low=1), {"b": [1]}),
        (between("a", low=1), {"a": ["CANARY"]}),
        (unique("a"), {"a": [["CANARY"], ["CANARY"]]}),
        (between("a", low=2, high=1), {"a": [1]}),
        (Expectation("expect_no_such_kind", "a"), {"a": ["CANARY"]}),
    ],
    ids=["no column", "wrong type", "lists", "impossible bounds", "unknown kind"],
)
def test_what_cannot_be_computed_has_failed_without_a_count(
    expectation, columns, caplog, capfd
):
    caplog.set_level(0)
    assert check(expectation, columns) == Outcome(expectation, False, None)
    assert "CANARY" not in caplog.text + "".join(capfd.readouterr())
    assert not [r for r in caplog.records if r.name.startswith("great_expectations")]


def test_an_empty_table_breaks_no_rule_about_rows():
    suite = interactions_suite(ContractConfig(), 2**40)
    table = pa.table(
        {
            "user_id": pa.array([], pa.string()),
            "item_id": pa.array([], pa.string()),
            "timestamp": pa.array([], pa.int64()),
            "rating": pa.array([], pa.float64()),
        }
    )
    assert all(outcome.success for outcome in run_suite(suite, table))


def test_nothing_is_printed_and_no_connection_is_opened(monkeypatch, capfd):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert check(not_null("a"), {"a": ["x"]}).success
    assert "".join(capfd.readouterr()) == ""

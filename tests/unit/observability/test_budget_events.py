"""Events for the automations of a Prefect server."""

from __future__ import annotations

import pytest

from data_contracts.privacy_plan import BudgetStatement
from tasks.observability import task


@pytest.fixture
def emitted(monkeypatch):
    """(event, resource, payload) of every event, instead of a server."""
    kept = []
    monkeypatch.setattr(
        task,
        "emit_event",
        lambda event, *, resource, payload: kept.append((event, resource, payload)),
    )
    return kept


def statement(silo: str, epsilon: float) -> BudgetStatement:
    return BudgetStatement(silo, epsilon, 8.0, 1e-5, 1, "ab" * 32)


def test_only_silos_whose_budget_is_nearly_spent_are_told_of(emitted):
    told = [statement("north", 2.0), statement("south", 6.45678)]
    task.tell_of_spent_budgets.fn(told, "year")
    assert emitted == [
        (
            "silorec.privacy-budget.nearly-spent",
            {
                "prefect.resource.id": "silorec.silo.south",
                "prefect.resource.name": "south",
            },
            {"epsilon": 6.457, "budget": 8.0, "period": "year"},
        )
    ]

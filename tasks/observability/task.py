"""Prefect edge of the observability room: events that a server's automations hear."""

from __future__ import annotations

from collections.abc import Iterable

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from data_contracts.privacy_plan import NEARLY_SPENT_EVENT, BudgetStatement


@task(name="Tell of spent budgets", cache_policy=NO_CACHE)
def tell_of_spent_budgets(statements: Iterable[BudgetStatement], period: str) -> None:
    """One event for each silo whose privacy budget is nearly spent.

    Args:
        statements: what ledgers say after a run was charged; all of it is public.
        period: of the budgets.
    """
    for told in statements:
        if told.nearly_spent:
            emit_event(
                NEARLY_SPENT_EVENT,
                resource={
                    "prefect.resource.id": f"silorec.silo.{told.silo}",
                    "prefect.resource.name": told.silo,
                },
                payload={
                    "epsilon": round(told.epsilon, 3),
                    "budget": told.budget,
                    "period": period,
                },
            )

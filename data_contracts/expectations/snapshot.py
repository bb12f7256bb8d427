"""Suite of the snapshot profile: facts about all tables of a silo at once.

Sizes, references between tables and drift do not belong to one row. They are
computed into a table with one row and a column per fact, and held to a suite like
any other. A fact that does not apply (no catalogue, no earlier snapshot) is null,
and nulls satisfy every range.
"""

from __future__ import annotations

from enum import StrEnum

from data_contracts.expectations.suite import Suite, between, not_null
from data_contracts.settings.data import ContractConfig


class SnapshotFact(StrEnum):
    """Columns of the one-row profile table."""

    INTERACTIONS = "interactions"
    USERS = "users"
    UNKNOWN_ITEM = "interactions_with_unknown_item"
    UNKNOWN_USER = "interactions_with_unknown_user"
    POPULARITY_DRIFT = "popularity_drift"
    ROW_LOSS = "row_loss"


def snapshot_suite(contracts: ContractConfig) -> Suite:
    """Enough rows and users, no dangling reference, no sudden change.

    Args:
        contracts: fewest rows and users, and how far a snapshot may move from the
            last accepted one.
    """
    return Suite(
        name="snapshot",
        version="1",
        table="snapshot",
        expectations=(
            not_null(SnapshotFact.INTERACTIONS),
            between(SnapshotFact.INTERACTIONS, low=contracts.min_interactions),
            not_null(SnapshotFact.USERS),
            between(SnapshotFact.USERS, low=contracts.min_users),
            between(SnapshotFact.UNKNOWN_ITEM, high=0),
            between(SnapshotFact.UNKNOWN_USER, high=0),
            between(SnapshotFact.POPULARITY_DRIFT, high=contracts.max_popularity_drift),
            between(SnapshotFact.ROW_LOSS, high=contracts.max_row_loss),
        ),
    )

"""Suite of the user table; its attributes are checked and never leave the silo."""

from __future__ import annotations

from data_contracts.columns import Column, TableName
from data_contracts.expectations.suite import (
    Suite,
    canonical_type,
    identifier,
    unique,
)


def users_suite() -> Suite:
    """Every user has an id of its own; attributes have their types."""
    return Suite(
        name="users",
        version="1",
        table=TableName.USERS.value,
        expectations=(
            *identifier(Column.USER),
            unique(Column.USER),
            canonical_type(Column.AGE),
            canonical_type(Column.GENDER),
            canonical_type(Column.OCCUPATION),
            canonical_type(Column.REGION),
        ),
    )

"""Suite of the catalogue table."""

from __future__ import annotations

from data_contracts.columns import Column, TableName
from data_contracts.expectations.suite import (
    Suite,
    canonical_type,
    identifier,
    unique,
)


def items_suite() -> Suite:
    """Every item has an id of its own; titles and categories are text."""
    return Suite(
        name="items",
        version="1",
        table=TableName.ITEMS.value,
        expectations=(
            *identifier(Column.ITEM),
            unique(Column.ITEM),
            canonical_type(Column.TITLE),
            canonical_type(Column.CATEGORIES),
        ),
    )

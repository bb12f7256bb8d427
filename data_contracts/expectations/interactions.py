"""Suite of the interaction table: who, what, when, and perhaps a rating."""

from __future__ import annotations

from datetime import UTC

from data_contracts.columns import Column, TableName
from data_contracts.expectations.suite import (
    Suite,
    between,
    canonical_type,
    identifier,
    required,
    unique_together,
)
from data_contracts.settings.data import ContractConfig


def interactions_suite(contracts: ContractConfig, now_seconds: int) -> Suite:
    """Ids and times are there, times and ratings in range, no row twice.

    A rating may be missing in single rows: clicks and ratings share the table.

    Args:
        contracts: bounds of ratings and the earliest moment (UTC if it names none).
        now_seconds: latest valid timestamp, in seconds since 1970-01-01 UTC.
    """
    earliest = contracts.earliest
    if earliest.tzinfo is None:
        earliest = earliest.replace(tzinfo=UTC)
    return Suite(
        name="interactions",
        version="1",
        table=TableName.INTERACTIONS.value,
        expectations=(
            *identifier(Column.USER),
            *identifier(Column.ITEM),
            *required(Column.TIMESTAMP),
            between(Column.TIMESTAMP, low=int(earliest.timestamp()), high=now_seconds),
            canonical_type(Column.RATING),
            between(Column.RATING, low=contracts.rating_min, high=contracts.rating_max),
            unique_together(Column.USER, Column.ITEM, Column.TIMESTAMP),
        ),
    )

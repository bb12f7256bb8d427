"""The words suites are written in: an expectation, a suite, and column idioms.

Leaves out how an expectation is evaluated; that is the validation room's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from data_contracts.columns import OPTIONAL_COLUMNS, Column, TableName
from data_contracts.tables import ARROW_TYPES

TYPE_NAMES: dict[pa.DataType, str] = {
    pa.string(): "str",
    pa.int64(): "int",
    pa.float64(): "float",
}


@dataclass(frozen=True)
class Expectation:
    """One thing that must hold.

    Attributes:
        kind: Great Expectations type name, such as `expect_column_to_exist`.
        column: the column it is about; empty if `kwargs` names several.
        kwargs: further arguments of that type.
    """

    kind: str
    column: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """The column, or all columns separated by commas.

        >>> Expectation("expect_x", kwargs={"column_list": ["a", "b"]}).subject
        'a, b'
        """
        return self.column or ", ".join(self.kwargs.get("column_list", ()))

    @property
    def allowed(self) -> str:
        """What would be allowed, in words; empty where the kind says it all.

        >>> between("rating", low=1.0, high=5.0).allowed
        '1.0 to 5.0'
        >>> between("users", low=50).allowed
        'at least 50'
        """
        low, high = self.kwargs.get("min_value"), self.kwargs.get("max_value")
        if low is not None and high is not None:
            return f"{low} to {high}"
        if low is not None:
            return f"at least {low}"
        if high is not None:
            return f"at most {high}"
        return str(self.kwargs.get("type_", ""))


@dataclass(frozen=True)
class Suite:
    """All expectations on one table; at most one per kind and column."""

    name: str
    version: str
    table: str
    expectations: tuple[Expectation, ...]

    def for_columns(self, columns: Collection[str]) -> Suite:
        """The suite without expectations on optional columns a table lacks."""
        optional = OPTIONAL_COLUMNS[TableName(self.table)]
        absent = {column.value for column in optional} - set(columns)
        kept = tuple(e for e in self.expectations if e.column not in absent)
        return replace(self, expectations=kept)


def between(
    column: str, *, low: float | None = None, high: float | None = None
) -> Expectation:
    """Every value that is not null lies in [low, high]; a bound may be left out."""
    bounds = {"min_value": low, "max_value": high}
    kwargs = {name: bound for name, bound in bounds.items() if bound is not None}
    return Expectation("expect_column_values_to_be_between", str(column), kwargs)


def not_null(column: str) -> Expectation:
    """No value is missing."""
    return Expectation("expect_column_values_to_not_be_null", str(column))


def unique(column: str) -> Expectation:
    """No value occurs twice."""
    return Expectation("expect_column_values_to_be_unique", str(column))


def unique_together(*columns: str) -> Expectation:
    """No two rows agree in all these columns."""
    names = [str(column) for column in columns]
    return Expectation(
        "expect_compound_columns_to_be_unique", kwargs={"column_list": names}
    )


def canonical_type(column: Column) -> Expectation:
    """The column has its type in `ARROW_TYPES`."""
    name = TYPE_NAMES[ARROW_TYPES[column]]
    return Expectation(
        "expect_column_values_to_be_of_type", column.value, {"type_": name}
    )


def required(column: Column) -> tuple[Expectation, ...]:
    """The column exists, has its canonical type and no nulls."""
    exists = Expectation("expect_column_to_exist", column.value)
    return exists, canonical_type(column), not_null(column)


def identifier(column: Column) -> tuple[Expectation, ...]:
    """A required column of ids, none of them the empty text."""
    filled = Expectation(
        "expect_column_value_lengths_to_be_between", column.value, {"min_value": 1}
    )
    return *required(column), filled

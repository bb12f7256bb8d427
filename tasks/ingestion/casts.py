"""From a silo's own column types to the canonical ones.

| column | accepted | becomes |
|---|---|---|
| ids, texts | text, whole numbers | text |
| rating | numbers, text that spells numbers | float64 |
| age | whole numbers of any type, text that spells them | int64 |
| timestamp | dates, times, ISO 8601 text, whole seconds since 1970 | UTC seconds |

Times without a zone are UTC; fractions of a second are cut off, so rows within one
second are told apart by their order in the table only. Milliseconds are never
guessed: as seconds they lie in a far future, which the data contract refuses. A silo
says `time_unit` of its table.
Missing values stay missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column
from data_contracts.settings.cohort import TimeUnit
from data_contracts.tables import ARROW_TYPES

UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
TIMES = tuple(pa.timestamp(u, tz=zone) for u in ("us", "ns") for zone in ("UTC", None))
"""How ISO 8601 text is read: Arrow wants a zone in every value, or in none."""


class CastError(Exception):
    """A column has no canonical form; says what would have one, never a value."""

    def __init__(self, accepted: str) -> None:
        super().__init__(accepted)
        self.accepted = accepted


def cast_column(
    column: Column, values: pa.ChunkedArray, time_unit: TimeUnit = "s"
) -> pa.ChunkedArray:
    """Bring a silo's own column into its canonical type.

    Args:
        column: what it is to become.
        values: as the silo has them.
        time_unit: of timestamps that are whole numbers.

    Raises:
        CastError: the type, or one of the values, has no canonical form.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_null(values.type):
        return values.cast(ARROW_TYPES[column])
    cast, accepted = CASTS.get(column, (_text, "text or whole numbers"))
    if column is Column.TIMESTAMP:
        cast = partial(_seconds, unit=time_unit)
    try:
        return cast(values)
    except pa.ArrowException:
        # Arrow's own message quotes the offending value.
        raise CastError(accepted) from None


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (_is_text(values.type) or pa.types.is_integer(values.type)):
        raise pa.ArrowTypeError("neither text nor whole numbers")
    return values.cast(pa.string())


def _number(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_boolean(values.type) or pa.types.is_temporal(values.type):
        raise pa.ArrowTypeError("not a number")
    return values.cast(pa.float64())


def _whole_number(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    if _is_text(values.type):
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:
            pass  # Tools that write missing values as NaN write 25 as 25.0.
    return _number(values).cast(pa.int64())


def _seconds(values: pa.ChunkedArray, unit: TimeUnit = "s") -> pa.ChunkedArray:
    if _is_text(values.type):
        values = _whole_numbers_or_times(values)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(values.type):
        # The count behind a zoned time is in UTC already.
        count = values.cast(pa.int64())
        return _floor_divide(count, UNITS_PER_SECOND[values.type.unit])
    whole = _whole_number(values)
    return whole if unit == "s" else _floor_divide(whole, UNITS_PER_SECOND[unit])


def _whole_numbers_or_times(values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return _whole_number(values)
    except pa.ArrowInvalid:
        for kind in TIMES[:-1]:
            with suppress(pa.ArrowInvalid):
                return values.cast(kind)
        return values.cast(TIMES[-1])


def _floor_divide(values: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
    """Round down, also before 1970, where Arrow's division rounds up."""
    quotient = pc.divide(values, divisor)
    remainder = pc.subtract(values, pc.multiply(quotient, divisor))
    return pc.subtract(quotient, pc.less(remainder, 0).cast(pa.int64()))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


CASTS: Mapping[Column, tuple[Callable[[pa.ChunkedArray], pa.ChunkedArray], str]] = {
    Column.RATING: (_number, "numbers"),
    Column.AGE: (_whole_number, "whole numbers"),
    Column.TIMESTAMP: (
        _seconds,
        "whole seconds since 1970, dates, times, or ISO 8601 text in which all values "
        "name a zone or none does",
    ),
}
"""Columns that are not plain text: how they are cast, and from what."""

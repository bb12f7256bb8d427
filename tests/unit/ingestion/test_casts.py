"""Own column types: what becomes a canonical value, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from data_contracts.columns import Column
from data_contracts.tables import ARROW_TYPES
from tasks.ingestion.casts import UNITS_PER_SECOND, CastError, cast_column

NEW_YEAR = 1_577_836_800  # 2020-01-01 00:00:00 UTC
BERLIN = pa.timestamp("ms", tz="Europe/Berlin")


@pytest.mark.parametrize(
    ("column", "own", "canonical"),
    [
        (Column.USER, pa.array([7, None], pa.int8()), ["7", None]),
        (Column.USER, pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (Column.ITEM, pa.array(["é"], pa.large_string()), ["é"]),
        (Column.ITEM, pa.array(["é"], pa.string_view()), ["é"]),
        (Column.GENDER, pa.array(["F", "M", "F"]).dictionary_encode(), [*"FMF"]),
        (Column.TITLE, pa.nulls(2), [None, None]),
        (Column.RATING, pa.array([4], pa.int32()), [4.0]),
        (Column.RATING, pa.array([Decimal("4.5")]), [4.5]),
        (Column.RATING, pa.array(["4.5", None]), [4.5, None]),
        (Column.AGE, pa.array([25.0, None]), [25, None]),
        (Column.AGE, pa.array(["25"]), [25]),
        (Column.AGE, pa.array(["25.0"]), [25]),
        (Column.TIMESTAMP, pa.array([NEW_YEAR], pa.uint32()), [NEW_YEAR]),
        (Column.TIMESTAMP, pa.array([str(NEW_YEAR), None]), [NEW_YEAR, None]),
        (Column.TIMESTAMP, pa.array([date(2020, 1, 1)]), [NEW_YEAR]),
        (Column.TIMESTAMP, pa.array([datetime(2020, 1, 1)]), [NEW_YEAR]),
        (
            Column.TIMESTAMP,
            pa.array([datetime(2020, 1, 1, tzinfo=UTC), None], BERLIN),
            [NEW_YEAR, None],
        ),
        (Column.TIMESTAMP, pa.array([1_500, -500], pa.timestamp("ms")), [1, -1]),
        (Column.TIMESTAMP, pa.array(["2020-01-01"]), [NEW_YEAR]),
        (Column.TIMESTAMP, pa.array(["2020-01-01 00:00:00.5"]), [NEW_YEAR]),
        (Column.TIMESTAMP, pa.array(["2020-01-01T00:00:00Z"]), [NEW_YEAR]),
        (Column.TIMESTAMP, pa.array(["2020-01-01T01:00:00+01:00"]), [NEW_YEAR]),
        (Column.TIMESTAMP, pa.array(["2020-01-01T00:00:00.123456789Z"]), [NEW_YEAR]),
    ],
)
def test_accepted(column, own, canonical):
    cast = cast_column(column, pa.chunked_array([own]))
    assert cast.type == ARROW_TYPES[column]
    assert cast.to_pylist() == canonical


@pytest.mark.parametrize(("unit", "per"), UNITS_PER_SECOND.items())
def test_whole_numbers_count_in_the_unit_that_the_silo_names(unit, per):
    late, before_1970 = NEW_YEAR * per + per - 1, -1
    for own in (pa.array([late, before_1970]), pa.array([str(late), "-1"])):
        cast = cast_column(Column.TIMESTAMP, pa.chunked_array([own]), unit)
        assert cast.to_pylist() == [NEW_YEAR, -1]
    # A time that says what it is needs no unit.
    text = pa.chunked_array([pa.array(["2020-01-01T00:00:00Z"])])
    assert cast_column(Column.TIMESTAMP, text, unit).to_pylist() == [NEW_YEAR]


@pytest.mark.parametrize(
    ("column", "own"),
    [
        (Column.USER, pa.array([1.0])),
        (Column.USER, pa.array([True])),
        (Column.ITEM, pa.array([[1]])),
        (Column.ITEM, pa.array([b"\xff"])),
        (Column.RATING, pa.array(["four"])),
        (Column.RATING, pa.array([True])),
        (Column.RATING, pa.array([datetime(2020, 1, 1)])),
        (Column.AGE, pa.array([25.5])),
        (Column.AGE, pa.array(["old"])),
        (Column.AGE, pa.array([date(1980, 1, 1)])),
        (Column.TIMESTAMP, pa.array([0.5])),
        (Column.TIMESTAMP, pa.array(["yesterday"])),
        (Column.TIMESTAMP, pa.array(["2020-01-01", "2020-01-01T00:00:00Z"])),
        (Column.TIMESTAMP, pa.array([True])),
    ],
)
def test_refused_without_the_value(column, own):
    with pytest.raises(CastError) as caught:
        cast_column(column, pa.chunked_array([own]))
    assert str(own[0].as_py()) not in str(caught.value)
    assert caught.value.__suppress_context__


def test_milliseconds_are_not_guessed():
    milliseconds = pa.chunked_array([[NEW_YEAR * 1000]])
    assert cast_column(Column.TIMESTAMP, milliseconds).to_pylist() == [NEW_YEAR * 1000]

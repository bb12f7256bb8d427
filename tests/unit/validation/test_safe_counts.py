"""Counts that leave a silo single nobody out."""

from itertools import pairwise

import pytest

from tasks.validation.safe_counts import safe_count


def test_counts_from_one_to_nine_look_alike():
    assert {safe_count(count) for count in range(1, 10)} == {"fewer than 10"}


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, ""), (0, "0"), (10, "10"), (37, "37"), (994, "990"), (996, "1000"),
     (1_049_999, "1000000"), (1_050_001, "1100000")],
)  # fmt: skip
def test_larger_counts_keep_two_significant_digits(count, shown):
    assert safe_count(count) == shown


def test_one_row_more_is_rarely_visible():
    shown = [safe_count(count) for count in range(1000, 10_000)]
    changes = sum(a != b for a, b in pairwise(shown))
    assert changes <= 90

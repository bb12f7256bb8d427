"""What one silo tells about one expectation: all that leaves it from this room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExpectationResult:
    """Whether an expectation holds at a silo.

    Attributes:
        suite: name of the suite it belongs to.
        suite_version: version of that suite.
        table: the table that was checked, or `snapshot`.
        column: the column, or several separated by commas.
        kind: Great Expectations type name.
        allowed: what the contract allows, in words; may be empty.
        success: whether it holds.
        count: rows that break it, as `safe_count` words them.
    """

    suite: str
    suite_version: str
    table: str
    column: str
    kind: str
    allowed: str
    success: bool
    count: str

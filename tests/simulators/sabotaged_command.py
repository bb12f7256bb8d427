"""The `silorec` command where silo `east` has a bug that quotes its data."""

from __future__ import annotations

import sys

from flows.cli import main
from tests.simulators.sabotage import Mischief, meddling, quote_a_row

ROUNDS = range(1, 3)

if __name__ == "__main__":
    with meddling(Mischief({("east", number): quote_a_row for number in ROUNDS})):
        sys.exit(main())

"""Write epsilons of Google's dp-accounting for ours to be compared with.

Run by hand: `pip install --no-deps dp-accounting==0.6.0`, then `python <this file>`. It
is no dependency, because it asks for releases of other packages that exclude ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "epsilons.json"
NOISE = (0.5, 0.8, 1.3, 3.43, 12.0)
PROBABILITIES = (0.001, 0.04, 0.17, 1.0)
STEPS = (1, 60, 3000)
DELTAS = (1e-5, 1e-7)
TOO_LARGE = 25.0
MIXED = (
    [(9.6, 1.0, 1), (1.274, 0.17, 120), (20.0, 1.0, 1)],
    [(0.8, 0.01, 500), (1.2, 0.02, 900), (4.0, 0.3, 40)],
    [(3.0 + 0.1 * n, 0.04096, 300) for n in range(12)],
)
GRID_STEP = 1e-4


def main() -> None:
    """Write the file."""
    rows = [row for row in (*single(), *mixed()) if row["epsilon"] < TOO_LARGE]
    PATH.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")


def single() -> Iterator[dict[str, Any]]:
    """One kind of event at a time."""
    for noise, q, steps, delta in product(NOISE, PROBABILITIES, STEPS, DELTAS):
        yield row([(noise, q, steps)], delta)


def mixed() -> Iterator[dict[str, Any]]:
    """Several kinds together."""
    for events, delta in product(MIXED, DELTAS):
        yield row(list(events), delta)


def row(events: list[tuple[float, float, int]], delta: float) -> dict[str, Any]:
    """What dp-accounting says of these events."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    total = None
    for noise, q, steps in events:
        one = pld.from_gaussian_mechanism(
            noise, sampling_prob=q, value_discretization_interval=GRID_STEP
        ).self_compose(steps)
        total = one if total is None else total.compose(one)
    assert total is not None
    epsilon = total.get_epsilon_for_delta(delta)
    return {"events": events, "delta": delta, "epsilon": epsilon}


if __name__ == "__main__":
    main()

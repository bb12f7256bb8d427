"""A picture of what rounds cost: epsilon of one run against its number of rounds."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.reporting.canvas import BAD, GOOD, new_figure, svg_text


def epsilon_chart(curve: Sequence[tuple[int, float]], budget: float) -> str:
    """An SVG of epsilon over rounds, with the budget as a line."""
    figure, axes = new_figure(6.6, 3.3)
    rounds, epsilons = zip(*curve, strict=True)
    axes.plot(rounds, epsilons, color=GOOD, linewidth=2.0)
    axes.axhline(budget, color=BAD, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"budget {budget:g}", (rounds[0], budget), (2, 3),
        textcoords="offset points", color=BAD, fontsize=8,
    )  # fmt: skip
    axes.set_xlabel("rounds of one run")
    axes.set_ylabel("epsilon")
    axes.set_ylim(0, max(*epsilons, budget) * 1.12)
    return svg_text(figure, "Epsilon of one run over its rounds")

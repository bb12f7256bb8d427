"""Pictures of a worked example: data with every model's line, and loss per round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_contracts.tabular import TabularResult
from tasks.reporting.canvas import (
    GOOD,
    INK,
    LINES,
    MUTED,
    new_figure,
    png_data_uri,
    round_axis,
    svg_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fit_chart(result: TabularResult) -> str:
    """An SVG of all rows and what each model makes of them."""
    return svg_text(_fit_figure(result), f"{result.example}: rows and models")


def fit_png(result: TabularResult) -> str:
    """The same as a PNG in a `data:` URI."""
    return png_data_uri(_fit_figure(result))


def loss_chart(result: TabularResult) -> str:
    """An SVG of the mean training loss at the start of each round."""
    figure, axes = new_figure(6.6, 2.6)
    rounds = range(1, len(result.round_losses) + 1)
    axes.plot(rounds, result.round_losses, color=GOOD, linewidth=2.0)
    axes.set_ylabel(f"training {result.loss_title}")
    axes.set_ylim(bottom=0)
    round_axis(axes, rounds)
    return svg_text(figure, f"{result.example}: loss of rounds")


def _fit_figure(result: TabularResult) -> Figure:
    """Silo's rows and its own model in one colour, over what all reach together."""
    figure, axes = new_figure(6.6, 3.8)
    colours = dict(zip(result.points, LINES[1:], strict=False))
    for silo, points in result.points.items():
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, s=14, color=colours[silo], alpha=0.6, label=f"{silo}, rows")
    low, high = axes.get_ylim()
    for silo, model in result.alone.items():
        axes.plot(
            result.grid, model.curve, color=colours[silo], linewidth=1.3,
            linestyle="--", zorder=4, label=model.title,
        )  # fmt: skip
    axes.plot(
        result.grid, result.federated.curve, color=GOOD, linewidth=3.2,
        label="federated",
    )  # fmt: skip
    axes.plot(
        result.grid, result.pooled.curve, color=INK, linewidth=1.8, linestyle=":",
        zorder=3, label="pooled (oracle)",
    )  # fmt: skip
    margin = 0.15 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.legend(
        frameon=False, fontsize=8, labelcolor=MUTED, loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )  # fmt: skip
    return figure

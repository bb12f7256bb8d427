"""Pictures of a privacy audit: claim against findings, and the scores behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_contracts.privacy_audit import AuditResult, FamilyFinding
from tasks.reporting.canvas import BAD, FAINT, GOOD, INK, MUTED, new_figure, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 40
SHOWN_MASS = 0.995
"""Histograms leave out the outermost scores, which would squeeze the others."""

TICKS = (0, 1, 2, 4, 8, 16, 32, 64, 100)


def claim_chart(result: AuditResult) -> str:
    """Per family: bound, estimate with its interval, ceiling, and noise off."""
    title = "Epsilon: claimed, certain, likely, and provable at most"
    figure, axes = new_figure(7.2, 0.9 + 0.75 * len(result.findings))
    axes.set_xscale("function", functions=(_root, _square))
    axes.axvline(result.claimed_epsilon, color=INK, lw=1.6, label="claimed")
    for place, found in enumerate(reversed(result.findings)):
        _family_line(axes, place, found, result.control_of(found.family), not place)
    most = max(f.estimate_high for f in (*result.findings, *result.control))
    axes.set_xlim(0, 1.15 * max(most, result.claimed_epsilon))
    axes.set_ylim(-0.6, len(result.findings) - 0.4)
    axes.set_xticks([tick for tick in TICKS if tick <= axes.get_xlim()[1]])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(result.findings)))
    axes.set_yticklabels([found.family.value for found in reversed(result.findings)])
    axes.set_xlabel("epsilon (square-root scale)")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x")
    axes.legend(
        ncols=5, loc="lower center", bbox_to_anchor=(0.44, 1.0), frameon=False,
        fontsize=8, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip
    return svg_text(figure, title)


def _family_line(
    axes: Axes,
    place: int,
    found: FamilyFinding,
    control: FamilyFinding,
    with_labels: bool,
) -> None:
    def label(text: str) -> str:
        return text if with_labels else "_nolegend_"

    axes.plot([found.estimate_low, found.estimate_high], [place] * 2, color=GOOD, lw=3)
    axes.plot(
        found.estimate, place, "o", color=GOOD, ms=7, label=label("likely (estimate)")
    )
    axes.plot(
        found.bound, place, ">", color=BAD, ms=7, label=label("certain (lower bound)"),
        clip_on=False,
    )  # fmt: skip
    axes.plot(
        found.ceiling, place, "|", color=MUTED, ms=16, mew=2,
        label=label("provable at most"),
    )  # fmt: skip
    axes.plot(
        control.estimate, place, "o", color=FAINT, ms=7, mfc="none", mew=1.5,
        label=label("estimate, noise off"),
    )  # fmt: skip


def score_chart(found: FamilyFinding, about: str) -> str:
    """Histograms of the scores of canaries that joined and of those that did not."""
    figure, axes = new_figure(3.6, 2.2)
    joined, out = np.asarray(found.scores_joined), np.asarray(found.scores_out)
    edges = _edges(np.concatenate([joined, out]))
    for scores, colour, name in ((out, MUTED, "stayed out"), (joined, GOOD, "joined")):
        counts = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0]
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.45, label=name)
        axes.stairs(counts, edges, color=colour, lw=1.0)
    axes.set_xlabel("score")
    axes.set_ylabel("canaries")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    return svg_text(figure, f"Scores, {found.family.value}, {about}")


def _edges(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    tail = (1.0 - SHOWN_MASS) / 2
    low, high = np.quantile(scores, [tail, 1.0 - tail])
    return np.linspace(low, high if high > low else low + 1.0, BINS + 1)


def _root(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(x, 0.0))


def _square(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.square(x)

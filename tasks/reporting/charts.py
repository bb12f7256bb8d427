"""Pictures of a run: pure functions from a history to a self-contained SVG.

Quiet and colour-blind safe: a few hues of Okabe and Ito (2008), told apart by shape
and label as well; lines and points are labelled where they lie. Every colour is
written as a CSS variable with a fallback, so one picture serves light and dark
pages. Same history, same bytes: no clock, no random identifiers. Matplotlib takes
half a second to import, hence only when a picture is drawn.

Leaves out interaction: a report must also work on paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_contracts.records import POOLED_SILOS, RoundRecord, RunHistory, Subject
from tasks.reporting.canvas import (
    BAD,
    FAINT,
    GOOD,
    INK,
    LINES,
    MUTED,
    SURFACE,
    bars,
    empty_picture,
    new_figure,
    png_data_uri,
    round_axis,
    spread,
    svg_text,
)
from tasks.reporting.findings import (
    ComparisonRow,
    comparison,
    metric_title,
    validation_curves,
)
from tasks.reporting.units import byte_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLOURED_LINES = 6

_End = tuple[float, str, str]
"""Where a line or band ends, its name and its colour."""


@dataclass(frozen=True)
class _Mark:
    """How a model is drawn in the comparison."""

    label: str
    marker: str
    colour: str
    filled: bool = True


_MARKS: dict[Subject, _Mark] = {
    Subject.POPULARITY: _Mark("popularity", "|", MUTED),
    Subject.ITEM_KNN: _Mark("ItemKNN", "v", MUTED, filled=False),
    Subject.EASE: _Mark("EASE", "s", MUTED, filled=False),
    Subject.MARKOV: _Mark("Markov", "^", MUTED, filled=False),
    Subject.STARTED_FROM: _Mark("started from", "d", MUTED),
    Subject.LOCAL_ONLY: _Mark("alone", "o", BAD, filled=False),
    Subject.POOLED: _Mark("pooled", "D", INK, filled=False),
    Subject.FEDERATED: _Mark("together", "o", GOOD),
}


def validation_chart(history: RunHistory) -> str:
    """Validation NDCG@k over rounds, per silo and for all silos."""
    title = f"{metric_title(history, 'ndcg')} on the validation window"
    curves = validation_curves(history)
    if not curves:
        return empty_picture(title)
    figure, axes = new_figure(6.6, 3.3)
    silos = [silo for silo in curves if silo != POOLED_SILOS]
    ends = []
    for position, silo in enumerate(sorted(curves, key=POOLED_SILOS.__eq__)):
        colour = INK if silo == POOLED_SILOS else _line_colour(position, len(silos))
        rounds, values = zip(*curves[silo], strict=True)
        axes.plot(rounds, values, color=colour, **_line_style(colour))
        ends.append((values[-1], silo, colour))
    _label_ends(axes, _labelled(ends))
    round_axis(axes, [number for points in curves.values() for number, _ in points])
    return svg_text(figure, title)


def _line_colour(position: int, silos: int) -> str:
    return LINES[position] if silos <= _MOST_COLOURED_LINES else FAINT


def _line_style(colour: str) -> dict[str, Any]:
    """The whole stands out; one of many silos is a thin line without points."""
    if colour == FAINT:
        return {"linewidth": 0.9}
    bold = colour == INK
    return {"linewidth": 2.4 if bold else 1.2, "zorder": 3 if bold else 2,
            "marker": "o", "markersize": 3.5 if bold else 2.5}  # fmt: skip


def _labelled(ends: list[_End]) -> list[_End]:
    """With many silos only the whole, the best and the worst carry a name."""
    single = sorted(end for end in ends if end[1] != POOLED_SILOS)
    if len(single) <= _MOST_COLOURED_LINES:
        return ends
    extremes = [(value, name, MUTED) for value, name, _ in (single[0], single[-1])]
    return [*extremes, *(end for end in ends if end[1] == POOLED_SILOS)]


def _label_ends(axes: Axes, ends: list[_End]) -> None:
    """Write each line's name right of its end, moved apart where they collide."""
    low, high = axes.get_ylim()
    heights = spread([end[0] for end in ends], 0.062 * (high - low), low, high)
    for (_, name, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name, (1.0, height), xytext=(6, 0), textcoords="offset points",
            xycoords=("axes fraction", "data"), color=colour, va="center",
            fontweight="bold" if name == POOLED_SILOS else "normal",
            annotation_clip=False,
        )  # fmt: skip


def comparison_chart(history: RunHistory) -> str:
    """Every model on the test window, for all silos and for each silo."""
    title = f"{metric_title(history, 'ndcg')} on the test window"
    figure = _comparison_figure(history)
    return svg_text(figure, title) if figure else empty_picture(title)


def comparison_png(history: RunHistory) -> str:
    """The comparison as a small PNG in a `data:` URI; empty without figures."""
    figure = _comparison_figure(history)
    return png_data_uri(figure) if figure else ""


def _comparison_figure(history: RunHistory) -> Figure | None:
    rows = comparison(history)
    if not rows:
        return None
    figure, axes = new_figure(6.6, 1.15 + 0.3 * len(rows))
    places = range(len(rows), 0, -1)
    for place, row in zip(places, rows, strict=True):
        _draw_row(axes, place, row)
    axes.set_yticks(list(places), [row.silo for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.silo == POOLED_SILOS else "normal")
    axes.set_ylim(0.4, len(rows) + 0.6)
    axes.set_xlim(left=0)
    axes.margins(x=0.06)
    axes.autoscale_view(scaley=False)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(f"{metric_title(history, 'ndcg')}, test window")
    _label_subjects(axes, rows)
    return figure


def _draw_row(axes: Axes, place: int, row: ComparisonRow) -> None:
    alone = row.values.get(Subject.LOCAL_ONLY)
    together = row.values.get(Subject.FEDERATED)
    if alone is not None and together is not None:
        colour = GOOD if together >= alone else BAD
        axes.plot([alone, together], [place] * 2, color=colour, lw=2.6, alpha=0.45)
    for subject, mark in _MARKS.items():
        if subject in row.values:
            axes.plot(
                row.values[subject], place, linestyle="none", marker=mark.marker,
                markersize=8 if mark.marker == "|" else 6.5, color=mark.colour,
                markerfacecolor=mark.colour if mark.filled else SURFACE,
                markeredgewidth=1.5, zorder=4,
            )  # fmt: skip


def _label_subjects(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    """Name the models above the first line that has each, moved apart sideways."""
    first, top = rows[0], len(rows)
    subjects = [s for s in _MARKS if s in first.values]
    right = axes.get_xlim()[1]
    gap = min(0.165, 1 / max(len(subjects), 1))
    wanted = [first.values[subject] for subject in subjects]
    for subject, value, at in zip(
        subjects, wanted, spread(wanted, gap * right, 0.0, right), strict=True
    ):
        axes.annotate(
            _MARKS[subject].label, (value, top + 0.2), xytext=(at, top + 0.95),
            color=_MARKS[subject].colour, ha="center", va="bottom",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip


def bytes_chart(history: RunHistory) -> str:
    """Bytes sent by the silos (up) and to them (down), per round."""
    title = "Bytes per round"
    if not history.rounds:
        return empty_picture(title)
    rounds = sorted(history.rounds, key=lambda row: row.round_number)
    up, down = [row.bytes_up for row in rounds], [row.bytes_down for row in rounds]
    size, unit = byte_unit(max(*up, *down))
    figure, axes = new_figure(4.7, 2.6)
    numbers = [row.round_number for row in rounds]
    bars(axes, numbers, [0.0] * len(up), [b / size for b in up], LINES[0])
    bars(axes, numbers, [0.0] * len(up), [-b / size for b in down], LINES[1])
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_ylabel(unit)
    for sign, label, colour in ((1, "up, from silos", 0), (-1, "down, to silos", 1)):
        axes.annotate(
            label, (1.0, sign * max(up if sign > 0 else down) / size / 2),
            xytext=(6, 0), textcoords="offset points", va="center",
            xycoords=("axes fraction", "data"), color=LINES[colour],
            annotation_clip=False,
        )  # fmt: skip
    round_axis(axes, numbers)
    return svg_text(figure, title)


def time_chart(history: RunHistory) -> str:
    """Where the time of each round went, stacked."""
    title = "Seconds per round"
    if not history.rounds:
        return empty_picture(title)
    rounds = sorted(history.rounds, key=lambda row: row.round_number)
    figure, axes = new_figure(4.7, 2.6)
    numbers = [row.round_number for row in rounds]
    base = [0.0] * len(rounds)
    ends = []
    for name, colour, seconds in _time_parts(rounds):
        top = [low + s for low, s in zip(base, seconds, strict=True)]
        bars(axes, numbers, base, top, colour)
        ends.append(((base[-1] + top[-1]) / 2, name, colour))
        base = top
    axes.set_ylim(0, max(base) * 1.05 or 1.0)
    axes.set_ylabel("seconds")
    _label_ends(axes, ends)
    round_axis(axes, numbers)
    return svg_text(figure, title)


def _time_parts(
    rounds: Sequence[RoundRecord],
) -> Iterator[tuple[str, str, list[float]]]:
    """(name, colour, seconds per round); the rest is what nobody claimed."""
    yield "train", LINES[0], [row.train_seconds for row in rounds]
    yield "aggregate", LINES[1], [row.aggregate_seconds for row in rounds]
    yield "evaluate", LINES[2], [row.evaluate_seconds for row in rounds]
    claimed = (
        row.train_seconds + row.aggregate_seconds + row.evaluate_seconds
        for row in rounds
    )
    rest = [
        max(0.0, row.round_seconds - known)
        for row, known in zip(rounds, claimed, strict=True)
    ]
    yield "record, rest", MUTED, rest

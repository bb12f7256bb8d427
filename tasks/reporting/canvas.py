"""The drawing style all charts share, and how a drawing becomes SVG or PNG.

Text stays text (`svg.fonttype` none), so charts can be searched, read aloud and set
in the page's own font. Identifiers are derived from the chart's title, which keeps
several inlined charts from using each other's markers.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

INK, MUTED, FAINT, SURFACE = "#1d2330", "#667085", "#b9c0cc", "#fefefe"
GOOD, BAD = "#0f6fb5", "#c75300"
LINES = (GOOD, "#b86e00", "#008060", "#a8478d", "#4a9fd4", "#8b5e3c")

_CSS_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    FAINT: "--faint",
    SURFACE: "--surface",
    GOOD: "--good",
    BAD: "--bad",
    **{colour: f"--line-{n}" for n, colour in enumerate(LINES) if n},
}

_STYLE: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "none",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.6,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}
_MOST_SEPARATE_BARS = 60
_PNG_DOTS_PER_INCH = 110


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one set of axes in the house style, sizes in inches.

    Drawn without `pyplot`: no global state, safe in any thread.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), facecolor="none")
        axes = figure.add_subplot(facecolor="none")
        axes.grid(axis="y")
    return figure, axes


def svg_text(figure: Figure, title: str) -> str:
    """The figure as one `<svg>` element that names itself and asks for nothing."""
    import matplotlib

    target = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure.savefig(
            target, format="svg", bbox_inches="tight", pad_inches=0.04,
            metadata={"Date": None},
        )  # fmt: skip
    return _inlinable(target.getvalue(), title)


def _inlinable(svg: str, title: str) -> str:
    """Drop prolog and metadata, scope identifiers, name fonts and colours."""
    scope = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{scope}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{scope}-", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    for colour, variable in _CSS_VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    opening = f'<svg role="img" stroke-linejoin="round" aria-label={quoteattr(title)} '
    return svg.replace("<svg ", opening, 1).strip()


def png_data_uri(figure: Figure) -> str:
    """The figure as a PNG on white, in a `data:` URI."""
    import matplotlib

    target = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(
            target, format="png", dpi=_PNG_DOTS_PER_INCH, bbox_inches="tight",
            facecolor="white", metadata={"Software": None},
        )  # fmt: skip
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def empty_picture(title: str) -> str:
    """What stands where there is nothing to draw."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 60" role="img" '
        f'width="480pt" height="60pt" aria-label={quoteattr(title)}>'
        f'<text x="4" y="34" fill="var(--muted, {MUTED})" font-size="12" '
        f'font-family="system-ui, sans-serif">{escape(title)}: nothing recorded.'
        "</text></svg>"
    )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least `gap` apart, in the same order.

    Labels are pushed up just enough, then the whole stack slides back into
    [low, high]; a stack taller than that starts at `low`.

    Example:
        >>> spread([1.0, 1.0, 5.0], gap=1.0, low=0.0, high=10.0)
        [1.0, 2.0, 5.0]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = dict.fromkeys(order, 0.0)
    previous = low - gap
    for index in order:
        previous = places[index] = max(wanted[index], previous + gap)
    ceiling = high + gap
    for index in reversed(order):
        ceiling = places[index] = min(places[index], ceiling - gap)
    floor = low - gap
    for index in order:
        floor = places[index] = max(places[index], floor + gap)
    return [places[index] for index in range(len(wanted))]


def bars(
    axes: Axes,
    numbers: Sequence[int],
    base: Sequence[float],
    top: Sequence[float],
    colour: str,
) -> None:
    """One bar per round from `base` to `top`, as a single path however many.

    Gaps between bars are steps of no height; beyond 60 rounds there are none.
    """
    half = 0.36 if len(numbers) <= _MOST_SEPARATE_BARS else 0.5
    edges, heights, floors = [], [], []
    for number, low, high in zip(numbers, base, top, strict=True):
        edges += [number - half, number + half]
        heights += [high, low]
        floors += [low, low]
    axes.stairs(
        heights[:-1], edges, baseline=floors[:-1], fill=True, color=colour, lw=0,
        alpha=0.85,
    )  # fmt: skip


def round_axis(axes: Axes, numbers: Sequence[int]) -> None:
    """Whole rounds on the horizontal axis, from the first to the last."""
    from matplotlib.ticker import MaxNLocator

    first, last = min(numbers), max(numbers)
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    axes.set_xlabel("round")

"""What a person at a terminal sees: progress while it runs, a table when it is over.

Everything goes to stderr, so that results on stdout can be piped. In a terminal a
spinner and bars move in place and only finished rounds and notes stay; in a log or
a pipe the same news are plain lines, at a readable pace.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from data_contracts.progress import ProgressListener
from data_contracts.records import POOLED_SILOS, RunHistory, Subject
from tasks.reporting.findings import (
    comparison,
    config_tree,
    headline,
    metric_title,
    published_model,
)
from tasks.reporting.json_progress import JsonProgress, log_format
from tasks.reporting.judgement import cautions
from tasks.reporting.overview import METRICS, metric_lines
from tasks.reporting.remarks import Tone
from tasks.reporting.units import figure, in_percent, short_hash

_PLAIN_PACE_SECONDS = 30.0
_TONE_STYLES = {
    Tone.GOOD: "green",
    Tone.INFO: "",
    Tone.WARNING: "yellow",
    Tone.ALARM: "bold red",
}


@contextmanager
def terminal_progress(stream: TextIO | None = None) -> Iterator[ProgressListener]:
    """The listener that suits `stream` (stderr): moving bars, or plain lines.

    JSON, one object a line, if the environment asks for it.

    Raises:
        UsageError: it asks for a format that there is not.
    """
    if log_format() == "json":
        yield JsonProgress(stream or sys.stderr)
        return
    console = Console(file=stream or sys.stderr)
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainProgress(stream or sys.stderr)
        return
    listener = RichProgress(console)
    with listener.display:
        yield listener


class RichProgress:
    """Implements `ProgressListener` for a terminal; use inside `with x.display`.

    Attributes:
        display: the moving part: a spinner for the stage, a bar per silo below it.
    """

    def __init__(self, console: Console) -> None:
        self._spinner = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        )
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        self._bar_of: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self.display = Live(
            Group(self._spinner, self._bars),
            console=console,
            transient=True,
            refresh_per_second=8,
        )

    def run(self, run_id: str) -> None:
        """A person knows which run this is."""

    def lap(self, stage: str, seconds: float) -> None:
        """The report tells how long stages took."""

    def stage(self, title: str) -> None:
        """Replace the spinner's text and take the bars of the last stage away."""
        with self._lock:
            for progress in (self._spinner, self._bars):
                for shown in progress.task_ids:
                    progress.remove_task(shown)
            self._bar_of.clear()
            self._spinner.add_task(escape(title), total=None)

    def silos(self, progress: Mapping[str, tuple[float, str]]) -> None:
        """Move the silos' bars."""
        with self._lock:
            for silo, (fraction, note) in progress.items():
                if silo not in self._bar_of:
                    bar = self._bars.add_task(escape(silo), total=1.0, note="")
                    self._bar_of[silo] = bar
                self._bars.update(
                    self._bar_of[silo], completed=fraction, note=escape(note)
                )

    def round(self, number: int, of: int, headline: str) -> None:
        """Leave a line that stays."""
        line = Text.assemble((f"round {number}/{of}", "bold"), "  ", headline)
        self.display.console.print(line)

    def note(self, sentence: str) -> None:
        """Leave a yellow line that stays."""
        self.display.console.print(Text(sentence, style="yellow"))


class PlainProgress:
    """Implements `ProgressListener` with one line per event, for logs and pipes.

    Args:
        stream: where the lines go.
        clock: seconds; how far silos are is told at most every 30 of them.
    """

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._told = clock()
        self._lock = threading.Lock()

    def run(self, run_id: str) -> None:
        """A person knows which run this is."""

    def lap(self, stage: str, seconds: float) -> None:
        """The report tells how long stages took."""

    def stage(self, title: str) -> None:
        """Write the title."""
        self._told = self._clock()
        self._line(title)

    def silos(self, progress: Mapping[str, tuple[float, str]]) -> None:
        """Write how far everyone is, at a readable pace."""
        now = self._clock()
        if now - self._told < _PLAIN_PACE_SECONDS:
            return
        self._told = now
        shares = (f"{silo} {share:.0%}" for silo, (share, _) in progress.items())
        self._line(f"  {', '.join(shares)}")

    def round(self, number: int, of: int, headline: str) -> None:
        """Write the round's figures."""
        self._line(f"round {number}/{of}  {headline}")

    def note(self, sentence: str) -> None:
        """Write the sentence, marked."""
        self._line(f"note: {sentence}")

    def _line(self, text: str) -> None:
        with self._lock:
            print(text, file=self._stream, flush=True)


def final_table(history: RunHistory, report_path: str = "") -> RenderableType:
    """What the run achieved, where everything lies, and what to do next."""
    parts: list[RenderableType] = ["", Text(headline(history), style="bold")]
    if metric_lines(history):
        parts += ["", _models_table(history)]
    if any(row.silo != POOLED_SILOS for row in comparison(history)):
        parts += ["", _silos_table(history)]
    parts.append("")
    for remark in cautions(history):
        parts.append(Text(remark.sentence, style=_TONE_STYLES[remark.tone]))
    return Group(*parts, "", _closing(history, report_path))


def _plain_table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="", box=None, pad_edge=False,
        header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip


def _models_table(history: RunHistory) -> Table:
    table = _plain_table("Test window, all silos")
    table.add_column("")
    for metric in METRICS:
        table.add_column(metric_title(history, metric), justify="right")
    for line in metric_lines(history):
        style = "bold" if line.subject == Subject.FEDERATED else ""
        table.add_row(line.title, *(figure(v) for v in line.values), style=style)
    return table


def _silos_table(history: RunHistory) -> Table:
    table = _plain_table(f"What joining brings, {metric_title(history, 'ndcg')}")
    table.add_column("silo")
    for column in ("users", "alone", "together", "lift"):
        table.add_column(column, justify="right")
    for row in comparison(history):
        style = "red" if row.lift is not None and row.lift < 0 else "green"
        if row.silo != POOLED_SILOS:
            table.add_row(
                escape(row.silo),
                str(row.users),
                figure(row.values.get(Subject.LOCAL_ONLY)),
                figure(row.values.get(Subject.FEDERATED)),
                Text(in_percent(row.lift), style=style if row.lift is not None else ""),
            )
    return table


def _closing(history: RunHistory, report_path: str) -> RenderableType:
    """Where things lie and the next commands; a long path is folded, never cut."""
    model = published_model(history)
    folder = config_tree(history).get("output_folder")
    lines = {
        "Report": report_path,
        "Model": model.path if model else "",
        "Lineage": f"{folder}/lineage" if folder else "",
        "Where the model comes from": (
            f"silorec lineage show {short_hash(model.sha256)}" if model else ""
        ),
        "Runs in the browser": "silorec ui",
    }
    return Group(
        *(
            Text.assemble((f"{name}: ", "dim"), value, overflow="fold")
            for name, value in lines.items()
            if value
        )
    )

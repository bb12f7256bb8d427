"""OpenTelemetry spans of a run, its rounds, and the stages of a round.

Uses the API of OpenTelemetry, which does nothing by itself. Spans go somewhere if the
process was started by `opentelemetry-instrument`, or if the environment names an
exporter (`OTEL_TRACES_EXPORTER`, `OTEL_EXPORTER_OTLP_ENDPOINT`) that is installed; all
other `OTEL_` variables are read by the SDK. Attributes are names, ids and numbers of
rounds; an exception is told by its type, as its text may quote data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from data_contracts.errors import UsageError
from data_contracts.progress import ProgressListener

RUN_ID, ROUND, STAGE = "silorec.run_id", "silorec.round", "silorec.stage"
EXPORTERS = "opentelemetry_traces_exporter"
DEFAULT_EXPORTER = "otlp"
OTLP_ENDPOINTS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
NS_IN_SECOND = 10**9


class TracedProgress:
    """Implements `ProgressListener`: makes spans of what it hears, and passes it on.

    A round and its stages become spans when the round is over, with the times that
    they had; what a killed process was doing is not told.

    Args:
        inner: hears the same.
        tracer: makes the spans.
        span: of the whole run.
        clock: nanoseconds since 1970.
    """

    def __init__(
        self,
        inner: ProgressListener,
        tracer: Tracer,
        span: Span,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._inner = inner
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self._laps: list[tuple[str, int, int]] = []
        self._run_id = ""

    def run(self, run_id: str) -> None:
        """Name the run on its spans."""
        self._run_id = run_id
        self._span.set_attribute(RUN_ID, run_id)
        self._inner.run(run_id)

    def stage(self, title: str) -> None:
        """An event of the run's span."""
        self._span.add_event("stage", {STAGE: title})
        self._inner.stage(title)

    def lap(self, stage: str, seconds: float) -> None:
        """Remember it until the round is over."""
        ended = self._clock()
        self._laps.append((stage, ended - int(seconds * NS_IN_SECOND), ended))
        self._inner.lap(stage, seconds)

    def round(self, number: int, of: int, headline: str) -> None:
        """Make the round's span and those of its stages."""
        laps, self._laps = self._laps, []
        told: dict[str, Any] = {RUN_ID: self._run_id, ROUND: number}
        below = trace.set_span_in_context(self._span)
        began = laps[0][1] if laps else self._clock()
        span = self._tracer.start_span(
            "round", below, attributes=told, start_time=began
        )
        within = trace.set_span_in_context(span)
        for stage, start, end in laps:
            self._tracer.start_span(
                stage, within, attributes={**told, STAGE: stage}, start_time=start
            ).end(end)
        span.end(self._clock())
        self._inner.round(number, of, headline)

    def silos(self, progress: Mapping[str, tuple[float, str]]) -> None:
        """No span."""
        self._inner.silos(progress)

    def note(self, sentence: str) -> None:
        """No span: it is a sentence for people."""
        self._inner.note(sentence)


@contextmanager
def traced(name: str, inner: ProgressListener) -> Iterator[ProgressListener]:
    """A span around the block, and the listener that makes those within it.

    Args:
        name: of the span.
        inner: the listener, which is given back as it is if nobody wants spans.
    """
    tracer = trace.get_tracer("silorec", version("silorec"))
    with tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False
    ) as span:
        if not span.is_recording():
            yield inner
            return
        try:
            yield TracedProgress(inner, tracer, span)
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def start_tracing() -> None:
    """Send spans where the environment says, unless somebody has seen to it.

    Raises:
        UsageError: the environment names an exporter that is not installed.
    """
    name = _wanted_exporter()
    if not name or not isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    ):
        return
    found = {entry.name: entry for entry in entry_points(group=EXPORTERS)}
    if name not in found:
        raise UsageError(
            f"the environment asks for spans by the exporter {name}, which is not "
            f"installed; there are {', '.join(sorted(found)) or 'none'}. Install "
            "silorec[otel], or set OTEL_TRACES_EXPORTER=none"
        )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(found[name].load()()))
    trace.set_tracer_provider(provider)


def _wanted_exporter() -> str:
    """Name of the exporter; empty: none is wanted."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    asked = any(os.environ.get(name) for name in OTLP_ENDPOINTS)
    name = os.environ.get("OTEL_TRACES_EXPORTER", DEFAULT_EXPORTER if asked else "none")
    if name == DEFAULT_EXPORTER:  # Which stands for one of two packages.
        grpc = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc"
        return f"{name}_proto_{'grpc' if grpc else 'http'}"
    return "" if name == "none" else name

"""The lineage tables as metrics: to a scrape over HTTP, or into a file.

Asks the tables and nobody else, so it tells of every run, whoever started it, and of
runs whose process is gone. However often it is scraped, tables are read once in
`KEPT_SECONDS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import RLock

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

from data_contracts.durable_files import write_durably
from data_contracts.errors import LineageError, UsageError
from data_contracts.federation_records import FederationRecords
from tasks.observability.catalogue import METRICS, Metric

KEPT_SECONDS = 10.0
FAMILY_OF = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}

READABLE = "silorec_lineage_readable"
READ_TIME = "silorec_lineage_read_seconds"
OWN_METRICS = (READABLE, READ_TIME)
"""Of the exporter itself, without a label."""

ReadFederations = Callable[[], Iterable[FederationRecords]]


class LineageCollector:
    """Implements `prometheus_client.registry.Collector`; any thread may ask.

    Args:
        read: all federations, as they are on record.
        clock: seconds.
        kept_seconds: an answer is given again for so long.
    """

    def __init__(
        self,
        read: ReadFederations,
        *,
        clock: Callable[[], float] = time.monotonic,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        self._read = read
        self._clock = clock
        self._kept_seconds = kept_seconds
        self._lock = RLock()
        self._kept: tuple[Family, ...] = ()
        self._stale_at = -float("inf")

    def describe(self) -> Iterable[Family]:
        """Nothing, so that to be registered needs no table."""
        return ()

    def collect(self) -> Iterable[Family]:
        """All families; tables that cannot be read are told as just that."""
        with self._lock:
            if self._clock() >= self._stale_at:
                self._kept = tuple(self._fresh())
                self._stale_at = self._clock() + self._kept_seconds
            return self._kept

    def _fresh(self) -> Iterator[Family]:
        began = self._clock()
        try:
            federations, readable = tuple(self._read()), 1.0
        except LineageError:
            federations, readable = (), 0.0
        yield GaugeMetricFamily(
            READABLE, "1 if the lineage tables can be read.", value=readable
        )
        yield GaugeMetricFamily(
            READ_TIME,
            "Time that it took to read them.",
            value=self._clock() - began,
        )
        for metric in METRICS:
            yield _family(metric, federations)


def metrics_registry(read: ReadFederations) -> CollectorRegistry:
    """A registry of our metrics alone."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LineageCollector(read))
    return registry


def metrics_text(registry: CollectorRegistry) -> str:
    """The exposition format of Prometheus."""
    return generate_latest(registry).decode()


def write_textfile(registry: CollectorRegistry, path: Path) -> None:
    """For node_exporter's textfile collector, which must never see half of it.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        write_durably(path, metrics_text(registry).encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> None:
    """Answer scrapes at `/metrics` until the process ends.

    Raises:
        UsageError: nobody can listen at this address.
    """
    try:
        _, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"metrics cannot be served at {host}:{port}: {error.strerror}; give "
            "another address with --host and --port"
        ) from None
    thread.join()


def _family(metric: Metric, federations: Iterable[FederationRecords]) -> Family:
    family: GaugeMetricFamily | CounterMetricFamily = FAMILY_OF[metric.kind](
        metric.name, metric.help, labels=("federation", *metric.labels)
    )
    for told in federations:
        for labels, value in metric.read(told):
            family.add_metric((told.federation, *labels), value)
    return family

"""Answers by the model in use, and takes the next one in without a pause.

The next model is read, verified, built and warmed beside the one that answers; then one
reference changes. Requests that began before end with the old model.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from data_contracts.errors import SilorecError
from tasks.serving.served import People, Served

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds."""

_log = logging.getLogger("silorec.serving")


@dataclass(frozen=True)
class Source:
    """Where models and people come from; all three may raise a `SilorecError`.

    Attributes:
        wanted: hash of the model that should be served now.
        load: that model, ready to serve, for these people.
        people: what the silo's people used, as its tables have it now.
    """

    wanted: Callable[[], str]
    load: Callable[[str, People], Served]
    people: Callable[[], People]


class Metrics:
    """What Prometheus is told; nothing here is about a person."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "silorec_serving_requests", "Answers, by status.", ["status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "silorec_serving_request_seconds", "Time to an answer.", buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.swaps = Counter(
            "silorec_serving_model_swaps", "Models taken into use.",
            registry=self.registry,
        )  # fmt: skip
        self.refusals = Counter(
            "silorec_serving_models_refused", "Looks that found no model to take.",
            registry=self.registry,
        )  # fmt: skip
        self.model = Gauge(
            "silorec_serving_model_info", "The model in use.", ["model_sha256"],
            registry=self.registry,
        )  # fmt: skip
        self.since = Gauge(
            "silorec_serving_model_since_seconds", "When it was taken into use.",
            registry=self.registry,
        )  # fmt: skip


class Engine:
    """Holds the model that answers now.

    Attributes:
        served: the model; take it once for a request.
        people: of the silo.
        metrics: for Prometheus.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stopped = threading.Event()
        self.metrics = Metrics()
        self.people = source.people()
        self.served = source.load(source.wanted(), self.people)
        self._tell(self.served)

    def look(self) -> bool:
        """Take another model into use if one is wanted; whether that was so.

        A model that cannot be read leaves the old one in its place.
        """
        try:
            wanted = self._source.wanted()
            if wanted == self.served.model.sha256:
                return False
            served = self._source.load(wanted, self.people)
        except SilorecError as error:
            self.metrics.refusals.inc()
            _log.warning(
                "the model in use stays %s: %s",
                self.served.model.sha256[:12],
                error.message,
            )
            return False
        self.served = served
        self.metrics.swaps.inc()
        self._tell(served)
        return True

    def refresh(self) -> None:
        """Read the silo's tables again; if they cannot be, everything stays."""
        try:
            people = self._source.people()
            self.served = self._source.load(self.served.model.sha256, people)
            self.people = people
        except SilorecError as error:
            _log.warning("the silo's tables were not read again: %s", error.message)

    def watch(self, poll_seconds: float, refresh_seconds: float) -> None:
        """Look again and again, in a thread of its own, until `stop`."""

        def work() -> None:
            due = time.monotonic() + refresh_seconds
            while not self._stopped.wait(poll_seconds):
                self.look()
                if time.monotonic() >= due:
                    self.refresh()
                    due = time.monotonic() + refresh_seconds

        threading.Thread(target=work, name="model-watch", daemon=True).start()

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()

    def _tell(self, served: Served) -> None:
        self.metrics.model.clear()
        self.metrics.model.labels(served.model.sha256).set(1)
        self.metrics.since.set_to_current_time()

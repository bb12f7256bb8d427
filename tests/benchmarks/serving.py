"""Serving beside the bare model: `python -m tests.benchmarks.serving`.

`silorec serve` answers requests over HTTP, by Ray Serve, on this machine; a client in a
process of its own asks. Beside it, in the same run and with the same model, the bare
forward pass for one person with the best ten, on one thread, while nobody asks. Then,
under load, another model becomes the champion.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_contracts.settings.training import ModelConfig
from models.recommenders.saved import SavedRecommender
from tasks.lineage.model_files import load_model
from tests.benchmarks.figures import say
from tests.simulators.served_federation import ServedFederation

CONFIG = ModelConfig(dim=64, blocks=2, heads=2, context=50)
ITEMS, PEOPLE, LENGTH, PORT = 5_000, 200, 50, 8641
WARM_UP, ALONE, CROWD, CONNECTIONS = 3.0, 15.0, 15.0, 8
START_SECONDS = 120


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        federation = ServedFederation(Path(folder), CONFIG, users=PEOPLE, items=ITEMS)
        federation.promote(1)
        history = list(federation.items[:LENGTH])
        bare = bare_milliseconds(federation, LENGTH)
        with served(federation) as address:
            ask(address, WARM_UP, 1, history)
            alone = ask(address, ALONE, 1, history)
            crowd = ask(address, CROWD, CONNECTIONS, history)
            load = started_load(address, CROWD, CONNECTIONS, history)
            time.sleep(CROWD / 3)
            changed = federation.promote(2).sha256
            swapped = json.loads(load.communicate()[0])
    p50 = statistics.median(alone["milliseconds"])
    say("bare_forward_p50_ms", bare, "ms")
    say("serving_p50_ms", p50, "ms")
    say("serving_p50_overhead_ms", p50 - bare, "ms", "<= 5")
    say("serving_p99_ms", float(np.quantile(alone["milliseconds"], 0.99)), "ms")
    rate = len(crowd["milliseconds"]) / CROWD
    say("serving_requests_per_second", rate, "requests/s")
    say("serving_crowd_p50_ms", statistics.median(crowd["milliseconds"]), "ms")
    lost = [one["failures"] for one in (alone, crowd, swapped)]
    assert changed in swapped["models"], "the champion did not change under load"
    assert len(swapped["models"]) == 2
    say("hot_swap_requests", len(swapped["milliseconds"]), "requests")
    say("hot_swap_lost_requests", sum(map(len, lost)), "requests", "0")


def bare_milliseconds(federation: ServedFederation, length: int) -> float:
    """Median of the forward pass and the best ten for one person, on one thread."""
    torch.set_num_threads(1)
    content = load_model(Path(federation.versions[1].path))
    saved = SavedRecommender.of_model(
        content.vocabulary, content.tensors, content.metadata
    )
    history, size = torch.arange(length)[None, :], torch.tensor([length])
    milliseconds = []
    with torch.inference_mode():
        for _ in range(300):
            began = time.perf_counter()
            torch.topk(saved.module.score(history, size), 10)
            milliseconds.append(1000 * (time.perf_counter() - began))
    return statistics.median(milliseconds[100:])


@contextlib.contextmanager
def served(federation: ServedFederation) -> Iterator[str]:
    """`silorec serve` in a process of its own; yields its address."""
    command = [
        sys.executable, "-m", "flows.cli", "serve", "--silo", "north",
        "--output-folder", str(federation.folder), "--port", str(PORT),
        "--poll-seconds", "0.5",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=sys.stderr, env=dict(os.environ))
    address = f"http://127.0.0.1:{PORT}"
    try:
        until_ready(address)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)


def until_ready(address: str) -> None:
    """Wait until requests are answered."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/health", timeout=5)
            return
        time.sleep(0.5)
    raise TimeoutError(f"nothing answers at {address}")


def ask(address: str, seconds: float, many: int, history: list[str]) -> dict[str, Any]:
    """What came of so many seconds of requests on so many connections."""
    told: dict[str, Any] = json.loads(
        started_load(address, seconds, many, history).communicate()[0]
    )
    return told


def started_load(
    address: str, seconds: float, many: int, history: list[str]
) -> subprocess.Popen[bytes]:
    """The client, at work."""
    command = [sys.executable, "-m", "tests.simulators.request_load"]
    given = [address, str(seconds), str(many), *history]
    return subprocess.Popen([*command, *given], stdout=subprocess.PIPE)


if __name__ == "__main__":
    main()

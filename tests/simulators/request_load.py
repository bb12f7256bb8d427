"""Many requests at once, from a process of its own: prints what came of them as JSON.

`python -m tests.simulators.request_load URL SECONDS CONNECTIONS HISTORY...`
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp


async def load(
    url: str, seconds: float, connections: int, history: list[str]
) -> dict[str, Any]:
    """Ask again and again; milliseconds of every answer, and what failed."""
    milliseconds: list[float] = []
    failures: list[str] = []
    models: set[str] = set()
    deadline = time.perf_counter() + seconds

    async def ask(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < deadline:
            began = time.perf_counter()
            try:
                body = {"history": history, "k": 10}
                async with session.post(f"{url}/recommend", json=body) as answer:
                    told = await answer.json()
                    if answer.status != 200:
                        failures.append(str(answer.status))
                        continue
                    models.add(told["model_sha256"])
            except (aiohttp.ClientError, OSError) as error:
                failures.append(type(error).__name__)
                continue
            milliseconds.append(1000 * (time.perf_counter() - began))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(ask(session) for _ in range(connections)))
    return {
        "milliseconds": milliseconds,
        "failures": failures,
        "models": sorted(models),
    }


if __name__ == "__main__":
    address, length, many, *items = sys.argv[1:]
    print(json.dumps(asyncio.run(load(address, float(length), int(many), items))))

"""`infra/prefect.yaml`: the table of deployments for Prefect's own `prefect deploy`.

Written by `make deployments`. Automations and limits have no place in that file:
`silorec deploy` registers them too.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import yaml

from flows.deployments import (
    EXAMPLE,
    TABLE,
    TAG,
    WORK_POOL,
    Deployment,
    Plan,
    pull_steps,
)

HEAD = """\
# Written by `make deployments` from flows/deployments.py; edit that file.
# `silorec deploy` registers the same, and also queue limits and automations.
"""


class _Plain(yaml.SafeDumper):
    """Writes what stands there twice twice."""

    def ignore_aliases(self, data: object) -> bool:
        """Whatever it is."""
        return True


def prefect_yaml() -> str:
    """The whole file, for the preset's federation and the default work pool."""
    plan = Plan(
        federation=EXAMPLE["name"],
        training=EXAMPLE,
        entries=TABLE,
        work_pool=WORK_POOL,
        folder="{{ $PWD }}",
    )
    tree = {
        "name": "silorec",
        "pull": pull_steps(plan.folder),
        "deployments": [_entry(plan, entry) for entry in plan.entries],
    }
    return HEAD + yaml.dump(tree, Dumper=_Plain, sort_keys=False, width=88)


def _entry(plan: Plan, entry: Deployment) -> dict[str, Any]:
    cron = plan.cron_of(entry)
    limit = {"limit": 1, "collision_strategy": "ENQUEUE"}
    return {
        "name": plan.name_of(entry),
        "version": version("silorec"),
        "description": entry.description,
        "tags": [TAG, plan.federation],
        "entrypoint": entry.entrypoint,
        "parameters": entry.parameters(plan.training),
        "schedules": [{"cron": cron, "timezone": "UTC"}] if cron else [],
        **({"concurrency_limit": limit} if entry.trains else {}),
        "work_pool": {
            "name": plan.work_pool,
            "work_queue_name": plan.queue_of(entry),
            "job_variables": {"env": entry.environment},
        },
    }

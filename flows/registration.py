"""Bring a Prefect server to the state that the table of deployments describes.

Everything is looked up by name first and written only if it differs, so that to do it
twice changes nothing, and what a person paused stays paused. Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

from flows import automations
from flows.deployments import SIDE_QUEUE, TAG, Deployment, Plan, pull_steps

WEBHOOK = "silorec-notifications"


@dataclass(frozen=True)
class Change:
    """What was done, or would be, about one thing on the server."""

    kind: str
    name: str
    done: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.done}"


def register(plan: Plan, *, dry_run: bool = False) -> Iterator[Change]:
    """Register everything; tells of each thing after it was done.

    Args:
        plan: what is to be there.
        dry_run: only look, and tell what would be done.
    """
    with get_client(sync_client=True) as client:
        yield _work_pool(client, plan, dry_run)
        for queue, limit in ((plan.federation, 1), (SIDE_QUEUE, None)):
            yield _queue(client, plan.work_pool, queue, limit, dry_run)
        for entry in plan.entries:
            yield _deployment(client, plan, entry, dry_run)
        for crash in (automations.silent_runs_crash, automations.stuck_runs_crash):
            yield _automation(client, crash(), dry_run)
        if plan.webhook:
            change, webhook = _webhook(client, plan.webhook, dry_run)
            yield change
            for make in (
                automations.tell_of_failures,
                automations.tell_of_spent_budgets,
            ):
                yield _automation(client, make(webhook), dry_run)


def _work_pool(client: SyncPrefectClient, plan: Plan, dry_run: bool) -> Change:
    name = plan.work_pool
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        if not dry_run:
            client.create_work_pool(
                WorkPoolCreate(
                    name=name,
                    type=ProcessWorker.type,
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                )
            )
        return Change("work pool", name, "created")
    return Change("work pool", name, "unchanged")  # Also one of another type.


def _queue(
    client: SyncPrefectClient, pool: str, name: str, limit: int | None, dry_run: bool
) -> Change:
    try:
        queue = client.read_work_queue_by_name(name, work_pool_name=pool)
    except ObjectNotFound:
        if not dry_run:
            client.create_work_queue(name, work_pool_name=pool, concurrency_limit=limit)
        return Change("work queue", name, "created")
    if limit is None or queue.concurrency_limit == limit:
        return Change("work queue", name, "unchanged")
    if not dry_run:
        client.update_work_queue(queue.id, concurrency_limit=limit)
    return Change("work queue", name, f"limited to {limit}")


def _deployment(
    client: SyncPrefectClient, plan: Plan, entry: Deployment, dry_run: bool
) -> Change:
    flow = entry.flow
    name, wanted = plan.name_of(entry), _wanted(plan, entry)
    try:
        found = client.read_deployment_by_name(f"{flow.name}/{name}")
    except ObjectNotFound:
        done = "created"
    else:
        done = "unchanged" if _standing(found) == _comparable(wanted) else "updated"
    if not dry_run and done != "unchanged":
        client.create_deployment(
            client.create_flow_from_name(flow.name), name, **wanted
        )
    return Change("deployment", f"{flow.name}/{name}", done)


def _wanted(plan: Plan, entry: Deployment) -> dict[str, Any]:
    """Arguments of the client's `create_deployment`."""
    cron = plan.cron_of(entry)
    queueing = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    return {
        "version": version("silorec"),
        "entrypoint": entry.entrypoint,
        "description": entry.description,
        "tags": [TAG, plan.federation],
        "parameters": entry.parameters(plan.training),
        "parameter_openapi_schema": parameter_schema(entry.flow).model_dump(
            mode="json", exclude_unset=True
        ),
        "enforce_parameter_schema": True,
        "work_pool_name": plan.work_pool,
        "work_queue_name": plan.queue_of(entry),
        "job_variables": {"env": entry.environment},
        "schedules": [DeploymentScheduleCreate(schedule=CronSchedule(cron=cron))]
        if cron
        else [],
        "concurrency_limit": 1 if entry.trains else None,
        "concurrency_options": queueing if entry.trains else None,
        "pull_steps": pull_steps(plan.folder),
    }


def _comparable(wanted: dict[str, Any]) -> dict[str, Any]:
    crons = sorted(schedule.schedule.cron for schedule in wanted["schedules"])
    options = wanted["concurrency_options"]
    return {
        **wanted,
        "tags": sorted(wanted["tags"]),
        "schedules": crons,
        "concurrency_options": options and options.collision_strategy,
    }


def _standing(found: DeploymentResponse) -> dict[str, Any]:
    """What is there, in the terms of `_comparable`."""
    limit, options = found.global_concurrency_limit, found.concurrency_options
    same = (
        "version", "entrypoint", "description", "parameters", "job_variables",
        "parameter_openapi_schema", "enforce_parameter_schema", "work_pool_name",
        "work_queue_name", "pull_steps",
    )  # fmt: skip
    crons = [str(getattr(told.schedule, "cron", told)) for told in found.schedules]
    return {name: getattr(found, name) for name in same} | {
        "tags": sorted(found.tags),
        "schedules": sorted(crons),
        "concurrency_limit": limit and limit.limit,
        "concurrency_options": options and options.collision_strategy,
    }


def _webhook(client: SyncPrefectClient, url: str, dry_run: bool) -> tuple[Change, UUID]:
    """The block that knows the address; the server keeps it encrypted."""
    try:
        found = client.read_block_document_by_name(
            WEBHOOK, block_type_slug=Webhook.get_block_type_slug()
        )
    except ObjectNotFound:
        done, known = "created", UUID(int=0)
    else:
        same = found.data.get("url") == url
        done, known = "unchanged" if same else "updated", found.id
    if not dry_run and done != "unchanged":
        Webhook(url=SecretStr(url)).save(WEBHOOK, overwrite=True)
        known = client.read_block_document_by_name(
            WEBHOOK, block_type_slug=Webhook.get_block_type_slug()
        ).id
    return Change("webhook", WEBHOOK, done), known


def _automation(
    client: SyncPrefectClient, wanted: AutomationCore, dry_run: bool
) -> Change:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        if not dry_run:
            client.create_automation(wanted)
        return Change("automation", wanted.name, "created")
    told = {"description", "trigger", "actions"}
    before = found[0].model_dump(mode="json", include=told)
    # What a server adds to a trigger is no difference.
    if _within(wanted.model_dump(mode="json", include=told), before):
        return Change("automation", wanted.name, "unchanged")
    if not dry_run:
        wanted = wanted.model_copy(update={"enabled": found[0].enabled})
        client.update_automation(found[0].id, wanted)
    return Change("automation", wanted.name, "updated")


def _within(wanted: Any, found: Any) -> bool:
    """Whether everything wanted is there; lists are compared as sets."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and _within(value, found[key])
            for key, value in wanted.items()
            if key != "id"
        )
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(
            any(_within(one, other) for other in found) for one in wanted
        )
    return bool(wanted == found)

"""What a Prefect server does by itself when something happens to a run of ours.

A flow run whose process was killed cannot say so: the server takes it for crashed when
its heartbeats stop. Notifications go to one webhook; they name flow, run and state, and
never the message of a state, which may be the text of any exception.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events import EventTrigger, Posture
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore
from prefect.events.schemas.events import ResourceSpecification

from data_contracts.privacy_plan import NEARLY_SPENT_EVENT
from flows.deployments import HEARTBEAT_SECONDS, TAG

HEARTBEAT = "prefect.flow-run.heartbeat"
PENDING, RUNNING = "prefect.flow-run.Pending", "prefect.flow-run.Running"
ENDED = {
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Failed", "Crashed", "Cancelled")
}
SILENT_SECONDS = 4 * HEARTBEAT_SECONDS
STUCK_SECONDS = 900

RUN_PAYLOAD = (
    '{"text": "silorec: flow {{ flow.name }}, run {{ flow_run.name }} is '
    '{{ flow_run.state.name }}"}'
)
BUDGET_PAYLOAD = (
    '{"text": "silorec: silo {{ event.resource.name }} has spent epsilon '
    "{{ event.payload.epsilon }} of {{ event.payload.budget }} in this "
    '{{ event.payload.period }}"}'
)

_ANY_RUN = ResourceSpecification.model_validate(
    {"prefect.resource.id": "prefect.flow-run.*"}
)
_OF_OURS = ResourceSpecification.model_validate(
    {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
)


def silent_runs_crash() -> AutomationCore:
    """A run that stops to send heartbeats, or never sends one, is set to Crashed."""
    return _crash(
        "silent runs have crashed",
        "No heartbeat, and no end: the process of the run is gone.",
        after={RUNNING, HEARTBEAT},
        expect={HEARTBEAT, *ENDED},
        seconds=SILENT_SECONDS,
    )


def stuck_runs_crash() -> AutomationCore:
    """A run that a worker took and never began keeps others from their turn."""
    return _crash(
        "runs that never begin have crashed",
        "A worker took the run, and its process never began it.",
        after={PENDING},
        expect={RUNNING, *ENDED},
        seconds=STUCK_SECONDS,
    )


def _crash(
    name: str, description: str, *, after: set[str], expect: set[str], seconds: int
) -> AutomationCore:
    return AutomationCore(
        name=f"{TAG}: {name}",
        description=description,
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=_ANY_RUN,
            match_related=_OF_OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=description)],
    )


def tell_of_failures(webhook: UUID) -> AutomationCore:
    """Somebody is told of runs that failed or crashed."""
    return AutomationCore(
        name=f"{TAG}: tell of runs that failed",
        description="Calls the webhook for every run that failed or crashed.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match=_ANY_RUN,
            match_related=_OF_OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=webhook, payload=RUN_PAYLOAD)],
    )


def tell_of_spent_budgets(webhook: UUID) -> AutomationCore:
    """Somebody is told while there is still a budget to plan with."""
    return AutomationCore(
        name=f"{TAG}: tell of privacy budgets that are nearly spent",
        description="Calls the webhook when a run charged most of a silo's budget.",
        trigger=EventTrigger(
            expect={NEARLY_SPENT_EVENT},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=webhook, payload=BUDGET_PAYLOAD)],
    )

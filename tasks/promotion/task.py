"""Prefect edge of the promotion room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.settings import get_current_settings
from pydantic import Field

from data_contracts.progress import announce
from data_contracts.records import (
    Decider,
    MetricRecord,
    ModelVersionRecord,
    RetrainingOutcome,
    Stage,
)
from data_contracts.retraining import Ruling
from data_contracts.settings.retraining import RetrainingConfig
from tasks.promotion.gate import Judgement, judge


class Approval(RunInput):
    """A person's word on a candidate, as the form of the Prefect UI asks for it."""

    decision: Literal["promote", "keep the champion"] = Field(
        "keep the champion",
        title="Decision",
        description="promote: the candidate becomes the champion. keep the champion: "
        "the candidate is rejected.",
    )
    reason: str = Field(
        "",
        max_length=500,
        title="Reason",
        description="One sentence for the record; everybody who reads the lineage "
        "tables sees it.",
    )

    def ruling(self) -> Ruling:
        """What becomes of the candidate."""
        promoted = self.decision == "promote"
        return Ruling(
            RetrainingOutcome.PROMOTED
            if promoted
            else RetrainingOutcome.REFUSED_BY_PERSON,
            Stage.CHAMPION if promoted else Stage.REJECTED,
            Decider.PERSON,
            self.reason.strip() or "no reason given",
        )


@task(name="Judge challenger", cache_policy=NO_CACHE)
def judge_challenger(
    metrics: Sequence[MetricRecord], config: RetrainingConfig, *, has_champion: bool
) -> Judgement:
    """Hold the challenger against the champion; shown on the flow run's page.

    Args:
        metrics: of the challenger's run.
        config: how much worse it may be.
        has_champion: whether there is a champion.
    """
    judgement = judge(metrics, config, has_champion=has_champion)
    create_table_artifact(
        [
            {"rule": rule.sentence, "holds": "yes" if rule.holds else "no"}
            for rule in judgement.rules
        ],
        key="promotion-gate",
        description=judgement.sentence,
    )
    return judgement


def ask_person(
    version: ModelVersionRecord, judgement: Judgement, hours: float
) -> Ruling | None:
    """Pause the flow run until a person has filled in the form, or time is over.

    With the embedded server there is no page to ask on: None at once.

    Args:
        version: the candidate.
        judgement: what the gate said.
        hours: longest wait.
    """
    if get_current_settings().api.url is None:
        return None
    announce().stage("Waiting for a person's decision in the Prefect UI")
    told = f"Candidate `{version.sha256[:12]}` of run {version.run_id}: "
    form = Approval.with_initial_data(description=told + judgement.sentence)
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=int(hours * 3600))
        return answer.ruling()
    except FlowPauseTimeout:
        return None

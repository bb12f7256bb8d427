"""What a silo does for its privacy budget: say what fits, charge, settle.

Nothing here is computed from people's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import BudgetStatement, ChargedPlan, PrivacyPlan
from data_contracts.settings.privacy import PrivacyConfig
from data_contracts.stopwatch import now_utc
from data_contracts.workspace import SiloWorkspace
from models.privacy.accounting import Spent, noise_multiplier_for, steps_that_fit
from tasks.privacy_budget.entries import (
    Entry,
    EntryKind,
    charged,
    next_entry,
    plan_of,
)
from tasks.privacy_budget.ledger import Ledger


def noise_needed(
    workspace: SiloWorkspace, privacy: PrivacyConfig, steps: int, plan: PrivacyPlan
) -> float:
    """The noise multiplier with which this silo's budget lasts for all planned runs.

    Args:
        workspace: the silo.
        privacy: the public numbers.
        steps: of this run.
        plan: the run's other releases.

    Raises:
        PrivacyBudgetError: no noise would be enough.
    """
    ledger = Ledger(workspace.folder)
    with ledger.locked():
        entries = ledger.entries()
    if intent := plan_of(entries, workspace.run_id, EntryKind.INTENT):
        return intent.training.noise_multiplier
    return noise_multiplier_for(
        privacy.epsilon,
        privacy.spendable_delta,
        sampling_probability=privacy.sampling_probability,
        steps=privacy.max_silos_per_user * privacy.planned_runs * steps,
        spent=Spent(_shared(_charged(entries, privacy), privacy)),
        beside=_shared(plan.releases, privacy, privacy.planned_runs),
    )


def foresee_charge(
    workspace: SiloWorkspace, privacy: PrivacyConfig, plan: PrivacyPlan
) -> None:
    """Refuse what `charge_run` would refuse now; charge nothing.

    Raises:
        PrivacyBudgetError: it does not fit, or the ledger has another delta.
    """
    ledger = Ledger(workspace.folder)
    with ledger.locked():
        entries = ledger.entries()
    _require_delta(entries, privacy, ledger)
    _require_fit(workspace.silo, entries, privacy, plan)


def charge_run(
    workspace: SiloWorkspace, privacy: PrivacyConfig, plan: PrivacyPlan
) -> BudgetStatement:
    """Charge the whole run before its first step; the same run again costs nothing.

    A run that died after it was settled may come back to publish its model: it trains
    nothing more, and says what it released again.

    Raises:
        PrivacyBudgetError: it does not fit, the ledger has another delta, or the run
            was charged for something else.
    """
    ledger = Ledger(workspace.folder)
    with ledger.locked():
        entries = ledger.entries()
        _require_delta(entries, privacy, ledger)
        if not _has_charged(entries, workspace.run_id, plan):
            _require_fit(workspace.silo, entries, privacy, plan)
            entries += (
                next_entry(
                    entries,
                    at=now_utc().isoformat(),
                    run_id=workspace.run_id,
                    kind=EntryKind.INTENT,
                    plan=plan,
                    delta=privacy.target_delta,
                ),
            )
            ledger.append(entries[-1])
    settled = plan_of(entries, workspace.run_id, EntryKind.SETTLED) is not None
    left = replace(plan, training=replace(plan.training, steps=0)) if settled else plan
    workspace.put(ChargedPlan(left))
    return _statement(workspace.silo, entries, privacy)


def settle_run(
    workspace: SiloWorkspace, privacy: PrivacyConfig, steps: int
) -> BudgetStatement:
    """Note how many steps were taken, now that no more will be; charge no more.

    Raises:
        PrivacyBudgetError: the run was not charged, or for fewer steps.
    """
    ledger = Ledger(workspace.folder)
    with ledger.locked():
        entries = ledger.entries()
        intent = plan_of(entries, workspace.run_id, EntryKind.INTENT)
        if intent is None or steps > intent.training.steps:
            raise PrivacyBudgetError(
                f"silo {workspace.silo} took {steps} steps in run {workspace.run_id} "
                "that its ledger did not charge; report this: it must not happen"
            )
        if plan_of(entries, workspace.run_id, EntryKind.SETTLED) is None:
            done = replace(intent, training=replace(intent.training, steps=steps))
            entries += (
                next_entry(
                    entries,
                    at=now_utc().isoformat(),
                    run_id=workspace.run_id,
                    kind=EntryKind.SETTLED,
                    plan=done,
                    delta=entries[-1].delta,
                ),
            )
            ledger.append(entries[-1])
    if workspace.has(ChargedPlan):
        workspace.take(ChargedPlan)
    return _statement(workspace.silo, entries, privacy)


def _has_charged(entries: Sequence[Entry], run_id: str, plan: PrivacyPlan) -> bool:
    """Whether this very plan is charged already."""
    intent = plan_of(entries, run_id, EntryKind.INTENT)
    if intent not in {None, plan}:
        raise PrivacyBudgetError(
            f"run {run_id} was charged for other steps or noise than it asks for now; "
            "resume it with the settings it began with, or start a new run"
        )
    return intent is not None


def _require_delta(
    entries: Sequence[Entry], privacy: PrivacyConfig, ledger: Ledger
) -> None:
    if entries and entries[0].delta != privacy.target_delta:
        raise PrivacyBudgetError(
            f"the privacy ledger {ledger.path} was begun with delta "
            f"{entries[0].delta:g}, which is fixed for its life, and the run asks for "
            f"{privacy.target_delta:g}; set privacy.delta to that of the ledger"
        )


def _require_fit(
    silo: str, entries: Sequence[Entry], privacy: PrivacyConfig, plan: PrivacyPlan
) -> None:
    spent = Spent(_shared(_charged(entries, privacy), privacy))
    delta, training = privacy.spendable_delta, plan.training
    total = spent.epsilon(delta, _shared(plan.events, privacy))
    if total <= privacy.epsilon:
        return
    steps = steps_that_fit(
        privacy.epsilon, delta,
        noise_multiplier=training.noise_multiplier,
        sampling_probability=training.sampling_probability,
        spent=spent, beside=_shared(plan.releases, privacy),
    )  # fmt: skip
    raise PrivacyBudgetError(
        f"silo {silo} would have spent epsilon {total:.2f} of {privacy.epsilon:g} in "
        f"this {privacy.period}: of {training.steps} steps with noise "
        f"{training.noise_multiplier:.3g} the largest number that fits is "
        f"{steps // privacy.max_silos_per_user}; train fewer, with more noise, or in "
        "the next period"
    )


def _charged(
    entries: Sequence[Entry], privacy: PrivacyConfig
) -> tuple[GaussianEvent, ...]:
    return charged(entries, privacy.period, now_utc().isoformat())


def _shared(
    events: Sequence[GaussianEvent], privacy: PrivacyConfig, times: int = 1
) -> tuple[GaussianEvent, ...]:
    """Events as they add up for a person who is in as many silos as may be."""
    copies = times * privacy.max_silos_per_user
    return tuple(replace(event, steps=event.steps * copies) for event in events)


def _statement(
    silo: str, entries: Sequence[Entry], privacy: PrivacyConfig
) -> BudgetStatement:
    spent = Spent(_shared(_charged(entries, privacy), privacy))
    return BudgetStatement(
        silo=silo,
        epsilon=spent.epsilon(privacy.spendable_delta),
        budget=privacy.epsilon,
        delta=privacy.target_delta,
        entries=len(entries),
        head=entries[-1].hash,
    )

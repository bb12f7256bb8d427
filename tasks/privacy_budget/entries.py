"""Entries of a privacy ledger, chained by hashes, and what they amount to.

Pure: no file, no clock. An intent is charged in full until it is settled, and for ever
if it never is. Legend: events are `GaussianEvent`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import PrivacyPlan
from data_contracts.settings.privacy import Period

GENESIS = "0" * 64


class EntryKind(StrEnum):
    """What an entry says."""

    INTENT = "intent"
    SETTLED = "settled"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the ledger.

    Attributes:
        sequence: from 1.
        at: UTC, ISO 8601.
        run_id: of the run.
        kind: intent before its first step, settled after its last.
        plan: what it is going to do, or did, as JSON.
        delta: of the ledger.
        previous: hash of the entry before.
        hash: of everything above.
    """

    sequence: int
    at: str
    run_id: str
    kind: str
    plan: str
    delta: float
    previous: str
    hash: str = ""

    @property
    def events(self) -> tuple[GaussianEvent, ...]:
        """Of its plan."""
        return PrivacyPlan.from_json(json.loads(self.plan)).events

    def sealed(self) -> Entry:
        """The same with its hash."""
        fields = [
            self.sequence, self.at, self.run_id, self.kind, self.plan,
            self.delta.hex(), self.previous,
        ]  # fmt: skip
        text = json.dumps(["silorec privacy ledger 1", *fields])
        return replace(self, hash=hashlib.sha256(text.encode()).hexdigest())


def next_entry(
    entries: Sequence[Entry],
    *,
    at: str,
    run_id: str,
    kind: EntryKind,
    plan: PrivacyPlan,
    delta: float,
) -> Entry:
    """The entry that follows `entries`."""
    return Entry(
        sequence=len(entries) + 1,
        at=at,
        run_id=run_id,
        kind=kind.value,
        plan=json.dumps(plan.as_json(), sort_keys=True),
        delta=delta,
        previous=entries[-1].hash if entries else GENESIS,
    ).sealed()


def verify(entries: Sequence[Entry], where: str) -> None:
    """Check the chain.

    Raises:
        PrivacyBudgetError: naming the first entry that was changed, lost or added.
    """
    previous = GENESIS
    for place, entry in enumerate(entries, start=1):
        whole = entry.sealed().hash == entry.hash
        if entry.sequence != place or entry.previous != previous or not whole:
            raise PrivacyBudgetError(
                f"the privacy ledger {where} was changed: entry {place} does not "
                "follow from the one before; restore it from a backup, nothing may be "
                "trained until then"
            )
        previous = entry.hash


def plan_of(
    entries: Sequence[Entry], run_id: str, kind: EntryKind
) -> PrivacyPlan | None:
    """What a run intended or settled; None if it did not."""
    for entry in entries:
        if (entry.run_id, entry.kind) == (run_id, kind.value):
            return PrivacyPlan.from_json(json.loads(entry.plan))
    return None


def charged(
    entries: Sequence[Entry], period: Period, now: str
) -> tuple[GaussianEvent, ...]:
    """All events that count in the period of `now`: settled ones, else intended ones.

    A run counts in the period in which it began.
    """
    events: list[GaussianEvent] = []
    for entry in entries:
        if entry.kind != EntryKind.INTENT:
            continue
        if period_of(entry.at, period) == period_of(now, period):
            done = plan_of(entries, entry.run_id, EntryKind.SETTLED)
            events += entry.events if done is None else done.events
    return tuple(events)


def period_of(at: str, period: Period) -> str:
    """The name of the calendar period, in UTC, that an ISO time lies in.

    >>> period_of("2026-05-17T10:00:00+00:00", "quarter")
    '2026 quarter 2'
    """
    year, month = at[:4], int(at[5:7])
    names = {
        "life": "life",
        "year": year,
        "quarter": f"{year} quarter {(month + 2) // 3}",
        "month": at[:7],
    }
    return names[period]

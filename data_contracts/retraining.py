"""What a retraining says of itself, from its start to its end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from data_contracts.records import Decider, RetrainingOutcome, RetrainingRecord, Stage
from data_contracts.stopwatch import now_utc


@dataclass(frozen=True)
class Stop:
    """Why a retraining trains nothing."""

    outcome: RetrainingOutcome
    sentence: str


@dataclass(frozen=True)
class Ruling:
    """What becomes of a challenger.

    Attributes:
        outcome: of the retraining.
        stage: where the challenger goes; None: it stays where it is.
        decided_by: who says so.
        sentence: why.
    """

    outcome: RetrainingOutcome
    stage: Stage | None
    decided_by: Decider
    sentence: str


@dataclass(frozen=True)
class News:
    """What a federation has to learn from since its champion was trained.

    Attributes:
        snapshots: silo -> hash of its accepted tables, as only the silo can make it.
        changed: silos whose accepted tables are not those of the champion.
        quarantined: silo -> the sentence that says why its tables are refused.
    """

    snapshots: Mapping[str, str]
    changed: tuple[str, ...]
    quarantined: Mapping[str, str]

    @classmethod
    def since(
        cls,
        known: Mapping[str, str],
        found: Mapping[str, str],
        quarantined: Mapping[str, str],
    ) -> News:
        """Compare what is there now with what the champion learned from.

        Args:
            known: silo -> hash that the champion learned from; empty without one.
            found: silo -> hash of the tables that it has now.
            quarantined: silo -> why its tables are refused.
        """
        accepted = {s: hash_ for s, hash_ in found.items() if s not in quarantined}
        changed = tuple(s for s, hash_ in accepted.items() if known.get(s) != hash_)
        return cls(accepted, changed, quarantined)

    def stop(self, min_silos: int, min_new_silos: int) -> Stop | None:
        """Why nothing is to be trained, if so.

        Args:
            min_silos: quorum of a training.
            min_new_silos: fewest silos with new data that are worth one.
        """
        refused = "; ".join(self.quarantined.values())
        if len(self.snapshots) < min_silos:
            return Stop(
                RetrainingOutcome.REFUSED_BY_CONTRACT,
                f"{len(self.snapshots)} silos keep the data contract and "
                f"cohort.min_silos is {min_silos}: {refused}",
            )
        if len(self.changed) >= min_new_silos:
            return None
        outcome = RetrainingOutcome.NOTHING_NEW
        if len(self.changed) + len(self.quarantined) >= min_new_silos:
            outcome = RetrainingOutcome.REFUSED_BY_CONTRACT
        new = f"{len(self.changed)} silos have new data that keeps the data contract"
        asked = f"retraining.min_new_silos is {min_new_silos}"
        return Stop(
            outcome, "; ".join([f"{new} and {asked}", *filter(None, [refused])])
        )


@dataclass(frozen=True)
class Retraining:
    """One retraining of a federation.

    Attributes:
        run_id: its own; the training that it starts has another.
        federation: name of the federation's runs.
        champion_sha256: the model in use when it began; empty without one.
    """

    run_id: str
    federation: str
    champion_sha256: str

    @classmethod
    def begun(cls, federation: str, champion_sha256: str) -> Retraining:
        """A retraining that begins now."""
        name = f"retraining-{now_utc():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        return cls(name, federation, champion_sha256)

    def ended(
        self, how: Stop | Ruling, news: News, challenger_sha256: str = ""
    ) -> RetrainingRecord:
        """Its record."""
        return RetrainingRecord(
            run_id=self.run_id,
            federation=self.federation,
            at=now_utc().isoformat(),
            outcome=how.outcome.value,
            champion_sha256=self.champion_sha256,
            challenger_sha256=challenger_sha256,
            new_silos=len(news.changed),
            quarantined_silos=len(news.quarantined),
            sentence=how.sentence,
        )

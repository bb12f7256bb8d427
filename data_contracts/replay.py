"""What a replay found: whether a recorded round comes out the same once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RoundReplay:
    """One round, computed again, beside what is on record of it.

    Attributes:
        round_number: the round.
        recorded_sha256: of the model file that the round left behind; empty where the
            candidate was rejected, of which no file is kept.
        replayed_sha256: of the file that the replay would leave behind.
        recorded_loss: mean training loss, in nats.
        replayed_loss: the same, computed again.
        recorded_norm: L2 norm of the mean update.
        replayed_norm: the same, computed again.
        silos: silo -> whether its update is the one it committed to; None where it
            cannot tell any more.
    """

    round_number: int
    recorded_sha256: str
    replayed_sha256: str
    recorded_loss: float
    replayed_loss: float
    recorded_norm: float
    replayed_norm: float
    silos: Mapping[str, bool | None]

    @property
    def equal(self) -> bool:
        """Whether the round came out the same, to the last bit."""
        return (
            self.recorded_loss == self.replayed_loss
            and self.recorded_norm == self.replayed_norm
            and self.recorded_sha256 in ("", self.replayed_sha256)
        )

    @property
    def first_different(self) -> str | None:
        """The first silo, in cohort order, whose update is another one."""
        return next((s for s, same in self.silos.items() if same is False), None)

    def sentence(self) -> str:
        """The finding in one sentence."""
        number = self.round_number
        if self.equal and not self.recorded_sha256:
            return (
                f"round {number} is equal in loss and norm of its update; its "
                "candidate was rejected, so no hash of it is on record"
            )
        if self.equal:
            return f"round {number} is equal: model {self.recorded_sha256[:12]}"
        silo = self.first_different
        where = (
            f"the update of silo {silo} is the first that differs"
            if silo
            else "no silo can tell that its update differs"
        )
        return f"round {number} differs: {where}"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Rounds computed again, in order, up to the first that differs.

    Attributes:
        run_id: the recorded run.
        rounds: what was compared.
        cautions: what has changed since, and may explain a difference.
    """

    run_id: str
    rounds: tuple[RoundReplay, ...]
    cautions: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every round came out the same."""
        return all(one.equal for one in self.rounds)

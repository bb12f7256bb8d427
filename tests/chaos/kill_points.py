"""Where processes are killed: every durable step, every phase of secure aggregation.

A point names a function of the product, and before or after which of its calls SIGKILL
strikes. The product knows nothing of it: `killed_command.py` wraps the function.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from data_contracts.secure_aggregation import AggregationTerms
from data_contracts.workspace import SiloStep, SiloWorkspace

ROUNDS = 3
ROUND = 2
"""The round that is disturbed: one is finished before it, one comes after it."""

VICTIM = "south"
UPDATE = "model update"

FLOW = "flows.federated_training:"
SERVER = "tasks.secure_aggregation.server:Server."
RECORD = "tasks.lineage.task:"
STATE = "tasks.lineage.run_state:"
STORE = "tasks.lineage.store:LineageStore."
AHEAD = "tasks.lineage.write_ahead:WriteAheadFolder."

When = Literal["before", "after"]
Inside = Literal["", "sum", "commit", "end"]


@dataclass(frozen=True)
class KillPoint:
    """One instant at which the coordinator is killed.

    Attributes:
        name: as the table says it.
        where: `module:qualified name` of the function.
        when: on its way in or out.
        call: which of its calls that belong to the point, from 1.
        inside: only calls of this round's sum of updates, or of this step of the
            lineage, count.
        smoke: part of `make test`.
        with_actors: silos are Ray actors, which outlive the coordinator by moments.
    """

    name: str
    where: str
    when: When = "after"
    call: int = 1
    inside: Inside = ""
    smoke: bool = False
    with_actors: bool = False


def _flow(name: str, step: str, call: int = 1, when: When = "after", **more: Any):
    return KillPoint(name, FLOW + step, when, call, **more)


def _sum(name: str, step: str, when: When = "after", **more: Any):
    return KillPoint(name, SERVER + step, when, inside="sum", **more)


COORDINATOR = (
    _flow("the run is on record, no silo is up", "open_cohort", when="before"),
    _flow("silos have loaded their tables", "load_silo_tables"),
    _flow("admission is recorded", "record_admission"),
    _flow("the vocabulary is agreed", "agree_on_vocabulary"),
    _flow("sequences are made, departures recorded", "record_departures"),
    _flow("before round 1", "start_progress", smoke=True),
    _flow("before training", "train_on_silos", ROUND, "before"),
    _flow("silos have trained", "train_on_silos", ROUND),
    KillPoint("keys: the first is there", SERVER + "receive", call=1, inside="sum"),
    _sum("keys: all are there", "close_advertising"),
    KillPoint("shares: the first are there", SERVER + "receive", call=4, inside="sum"),
    _sum("shares: all are there", "close_sharing"),
    KillPoint("uploads: the first is there", SERVER + "receive", call=7, inside="sum"),
    _sum("uploads: all are there", "close_uploads", smoke=True),
    KillPoint(
        "confirmations: the first is there", SERVER + "receive", call=10,
        inside="sum", smoke=True, with_actors=True,
    ),
    _sum("confirmations: all are there", "close_confirmations"),
    KillPoint("unmasking: the first is there", SERVER + "receive", call=13,
              inside="sum"),
    _sum("unmasking: the sum is open", "unmask", smoke=True),
    _flow("the candidate is made", "update_global_model", ROUND),
    _flow("the candidate is evaluated", "evaluate_on_silos", ROUND),
    _flow("before the round is recorded", "record_round", ROUND, "before"),
    KillPoint("the model is saved", RECORD + "save_model", call=ROUND),
    KillPoint("before the round's state is durable", RECORD + "write_state", "before",
              call=ROUND),
    KillPoint("the round's state is durable", RECORD + "write_state", call=ROUND,
              smoke=True),
    KillPoint("the round's rows are ahead of the tables", AHEAD + "put",
              inside="commit"),
    KillPoint("some tables have the round's rows", STORE + "_write_rows",
              inside="commit"),
    KillPoint("before the unfinished commit is dropped", AHEAD + "drop", "before",
              inside="commit"),
    _flow("the round is recorded", "record_round", ROUND),
    _flow("the last round is recorded", "record_round", ROUNDS),
    _flow("the final evaluation is done", "evaluate_on_silos", ROUNDS + 1),
    _flow("before the model is published", "publish_model", when="before"),
    KillPoint("the publication is ahead of the tables", AHEAD + "put", inside="end",
              smoke=True),
    _flow("the model is published", "publish_model"),
    _flow("before the report is written", "write_run_report", when="before"),
)  # fmt: skip


@dataclass(frozen=True)
class SiloKill:
    """One instant at which the process of silo `VICTIM` is killed, once in a run.

    Attributes:
        name: as the table says it.
        step: function of the silo.
        when: before its work, or after it with the answer unsent.
        call: which call of it.
        inside: only calls of this round's sum of updates count.
        smoke: part of `make test`.
    """

    name: str
    step: str
    when: When = "before"
    call: int = 1
    inside: Literal["", "sum"] = ""
    smoke: bool = False

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        """Stands before every step of every silo; see `sabotage.meddling`."""
        import os
        import signal

        ours = workspace.silo == VICTIM and step.__name__ == self.step
        if not ours or not (self.inside == "" or in_the_sum(workspace, args)):
            return step(workspace, *args)
        seen = workspace.__dict__.setdefault("_seen", Counter())
        seen[self.step] += 1
        reply = None
        if self.when == "after":
            reply = step(workspace, *args)
        struck = workspace.folder / "struck"
        if seen[self.step] == self.call and not struck.exists():
            struck.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return reply if self.when == "after" else step(workspace, *args)


def in_the_sum(workspace: SiloWorkspace, args: tuple[Any, ...]) -> bool:
    """Whether a step belongs to the sum of updates of the disturbed round."""
    return in_a_sum_of(workspace, args) == (ROUND, UPDATE)


def in_a_sum_of(
    workspace: SiloWorkspace, args: tuple[Any, ...]
) -> tuple[int, str] | None:
    """Round and purpose of the sum that a step of secure aggregation belongs to."""
    if args and isinstance(args[0], AggregationTerms):
        terms = args[0]
    elif workspace.has(AggregationTerms):
        terms = workspace.get(AggregationTerms)
    else:
        return None
    return terms.round_number, terms.purpose


SILO = (
    SiloKill("loading its tables", "load_tables"),
    SiloKill("making its sequences", "preprocess"),
    SiloKill("training", "train_round", call=ROUND),
    SiloKill("having trained", "train_round", "after", call=ROUND, smoke=True),
    SiloKill("keys", "advertise_keys", inside="sum"),
    SiloKill("shares", "share_keys", inside="sum"),
    SiloKill("upload", "upload_masked_input", inside="sum"),
    SiloKill("upload, masked and unsent", "upload_masked_input", "after",
             inside="sum"),
    SiloKill("confirmation", "confirm_survivors", inside="sum"),
    SiloKill("confirmation, signed and unsent", "confirm_survivors", "after",
             inside="sum"),
    SiloKill("unmasking", "reveal_shares", inside="sum"),
    SiloKill("validation", "evaluate_model", call=ROUND),
)  # fmt: skip

Point = KillPoint | SiloKill
POINTS: dict[str, Point] = {
    **{f"coordinator: {point.name}": point for point in COORDINATOR},
    **{f"silo: {point.name}": point for point in SILO},
}
SMOKE = [name for name, point in POINTS.items() if point.smoke]

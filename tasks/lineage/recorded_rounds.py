"""What the record tells of rounds that are to be computed again.

A round follows from the model before it, the configuration, the silos' tables, who
trained, who is in the sum, and how often the learning rate was cut: all on record. A
server optimizer with a memory, a narrow ring, control variates and personal tensors
follow from all
rounds before; these are then computed again from the first, and nothing more needs to
be kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.errors import NotRecordedError, UsageError
from data_contracts.records import (
    DecisionRecord,
    ParticipantRecord,
    RoundRecord,
    RunHistory,
    Verdict,
)
from data_contracts.replay import RoundReplay
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from data_contracts.workspace import SiloReplies
from models.fixed_point import RING_BITS
from models.parameters import Vector
from models.recommenders.building import layout_over
from models.vocabulary import Vocabulary
from models.weighted_mean import WeightedMean
from tasks.lineage.model_files import (
    MODELS_FOLDER,
    LoadedModel,
    load_model,
    model_path,
    sha256_of_model,
)


@dataclass(frozen=True, kw_only=True)
class RecordedRound:
    """One round, as it is on record.

    Attributes:
        round_number: from 1.
        cuts: how often the learning rate had been cut before it.
        accepted: whether its candidate became the model.
        commitments: silo -> commitment to its update; who has none did not train.
        contributors: silos in the sum.
        row: its figures, and the hash of the model that it left behind.
    """

    round_number: int
    cuts: int
    accepted: bool
    commitments: Mapping[str, str]
    contributors: frozenset[str]
    row: RoundRecord


@dataclass(frozen=True, kw_only=True)
class RecordedRounds:
    """Consecutive rounds of one run, and all that they follow from.

    Attributes:
        run_id: the run.
        config: as recorded; `output_folder` is where the record was found.
        config_hash: of the configuration at the time.
        snapshots: silo -> hash of its data, for every silo of the cohort.
        code_hashes: of the code that ran at the silos at the time.
        base: the model before the first of these rounds, if a file holds it.
        result: the model after the last of them, whose vocabulary is that of all.
        rounds: at least one.
    """

    run_id: str
    config: FederatedTrainingConfig
    config_hash: str
    snapshots: Mapping[str, str]
    code_hashes: frozenset[str]
    base: LoadedModel | None
    result: LoadedModel
    rounds: tuple[RecordedRound, ...]

    @property
    def from_start(self) -> bool:
        """Whether they begin with the first round of the run."""
        return self.rounds[0].round_number == 1

    @property
    def vocabulary(self) -> Vocabulary:
        """The items of the run's models."""
        saved = self.result
        return Vocabulary.of_model(saved.vocabulary, saved.tensors, saved.metadata)

    def vector_before(self) -> Vector:
        """Parameters before the first of these rounds, which is not the run's first."""
        assert self.base is not None
        layout = layout_over(self.config.model, self.vocabulary)
        return layout.join({name: self.base.tensors[name] for name in layout.names})

    @property
    def cohort(self) -> tuple[str, ...]:
        """Every silo that was asked to train."""
        return tuple(self.snapshots)

    def require_same_data(self, loaded: SiloReplies[str]) -> None:
        """Refuse where a silo is missing or its tables are not what they were.

        Raises:
            UsageError: names every such silo.
        """
        changed = [
            f"silo {silo} cannot load its tables ({loaded.failures[silo].sentence})"
            if silo in loaded.failures
            else f"silo {silo} is not among the silos any more"
            if silo not in loaded.values
            else f"the data of silo {silo} is not what it was (snapshot "
            f"{snapshot[:12]}), or the secret in its folder is another one"
            for silo, snapshot in self.snapshots.items()
            if loaded.values.get(silo) != snapshot
        ]
        if changed:
            raise UsageError(
                f"run {self.run_id} cannot be replayed: {'; '.join(changed)}; bring "
                "back the tables and folders of the time"
            )

    def require_prepared(self, prepared: SiloReplies[Any]) -> None:
        """Refuse where a silo cannot be prepared: weights follow from all of them.

        Raises:
            UsageError: names the first such silo.
        """
        for failure in prepared.failures.values():
            raise UsageError(
                f"run {self.run_id} cannot be replayed: silo {failure.silo} could not "
                f"prepare its data ({failure.sentence})"
            )

    def cautions(self, present_code: str) -> tuple[str, ...]:
        """What has changed since, and may explain a difference."""
        told = []
        if self.code_hashes - {present_code}:
            told.append(
                "the code is not the one that the run was made with: a difference may "
                "come from it"
            )
        if self.config.config_hash() != self.config_hash:
            told.append(
                "this version of silorec has other settings than the run was made "
                "with; new ones are at their defaults"
            )
        return tuple(told)

    def compared(
        self,
        told: RecordedRound,
        vector: Vector,
        mean: WeightedMean,
        silos: Mapping[str, bool | None],
    ) -> RoundReplay:
        """One of these rounds beside what came out this time.

        Args:
            told: the round.
            vector: the candidate, float32 [d].
            mean: the mean update behind it.
            silos: what the silos say of their commitments.
        """
        vocabulary = self.vocabulary
        tensors = layout_over(self.config.model, vocabulary).split(vector)
        replayed = sha256_of_model(
            tensors | vocabulary.frozen, self.result.metadata, vocabulary.items
        )
        return RoundReplay(
            round_number=told.round_number,
            recorded_sha256=told.row.model_sha256 if told.accepted else "",
            replayed_sha256=replayed,
            recorded_loss=told.row.train_loss,
            replayed_loss=mean.loss,
            recorded_norm=told.row.update_norm,
            replayed_norm=mean.norm,
            silos=silos,
        )


def recorded_rounds(
    history: RunHistory, folder: Path, round_number: int, *, from_start: bool = False
) -> RecordedRounds:
    """What is on record of a round, and of those that it needs to follow from.

    Args:
        history: of the run.
        folder: output folder that the record and the models lie in.
        round_number: the round.
        from_start: all rounds before it, too.

    Raises:
        NotRecordedError: the run has no such round.
        UsageError: the round cannot be computed again.
        ConfigError: the configuration is none any more.
        LineageError: a model file is gone or damaged.
    """
    run_id = history.run.run_id
    finished = [row.round_number for row in history.rounds]
    if round_number not in finished:
        known = f"1 to {max(finished)}" if finished else "none"
        raise NotRecordedError(
            f"run {run_id} has no finished round {round_number}; it has {known}"
        )
    config = parse_config(
        _config_tree(history), origin=f"the recorded configuration of {run_id}"
    ).model_copy(update={"output_folder": str(folder)})
    if config.privacy.on:
        raise UsageError(
            f"run {run_id} was private: its noise is recorded nowhere, so no round of "
            "it can be computed again; compare the ledgers instead"
        )
    if config.local_training.max_seconds is not None:
        raise UsageError(
            f"run {run_id} trained by the clock (local_training.max_seconds), so no "
            "round of it can be computed again"
        )
    first = 1 if from_start or remembers(config) else round_number
    rounds = tuple(_round(history, number) for number in range(first, round_number + 1))
    _require_same_groups(run_id, config, rounds)
    models = folder / MODELS_FOLDER
    return RecordedRounds(
        run_id=run_id,
        config=config,
        config_hash=history.run.config_hash,
        snapshots={
            row.silo: row.data_snapshot_hash
            for row in _participants(history, round_number)
        },
        code_hashes=frozenset(
            row.code_hash for row in history.participants if row.code_hash
        ),
        base=_base(history, config, models, first),
        result=load_model(model_path(models, rounds[-1].row.model_sha256)),
        rounds=rounds,
    )


def remembers(config: FederatedTrainingConfig) -> bool:
    """Whether a round follows from more of the earlier ones than their model.

    >>> from data_contracts.presets import PRESETS
    >>> remembers(FederatedTrainingConfig.model_validate(PRESETS["ml-100k"]))
    False
    """
    narrow = config.secure_aggregation.ring_bits < RING_BITS
    corrected = config.local_training.drift_correction != "none"
    personal = config.model.personal != "none"
    other = config.server_optimizer.name != "sgd"
    return narrow or corrected or personal or other


def _config_tree(history: RunHistory) -> dict[str, object]:
    tree: dict[str, object] = json.loads(history.run.config_json)
    return tree


def _round(history: RunHistory, number: int) -> RecordedRound:
    (row,) = [row for row in history.rounds if row.round_number == number]
    told = [d for d in history.decisions if d.verdict == Verdict.LEARNING_RATE_CUT]
    participants = _participants(history, number)
    return RecordedRound(
        round_number=number,
        cuts=sum(decision.round_number < number for decision in told),
        accepted=not _rejected(history.decisions, number),
        commitments={
            row.silo: row.update_commitment
            for row in participants
            if row.update_commitment
        },
        contributors=frozenset(row.silo for row in participants if row.contributed),
        row=row,
    )


def _rejected(decisions: tuple[DecisionRecord, ...], number: int) -> bool:
    return any(
        decision.round_number == number and decision.verdict == Verdict.REJECTED
        for decision in decisions
    )


def _participants(history: RunHistory, number: int) -> list[ParticipantRecord]:
    return [row for row in history.participants if row.round_number == number]


def _require_same_groups(
    run_id: str, config: FederatedTrainingConfig, rounds: tuple[RecordedRound, ...]
) -> None:
    """Groups are dealt among all who trained: one who vanished changes them."""
    if config.secure_aggregation.groups == 1:
        return
    for told in rounds:
        if lost := sorted(set(told.commitments) - told.contributors):
            raise UsageError(
                f"round {told.round_number} of run {run_id} cannot be replayed: silo "
                f"{lost[0]} was dealt into a group of it and is not in its sum; replay "
                "a round in which all silos that trained are in the sum"
            )


def _base(
    history: RunHistory, config: FederatedTrainingConfig, models: Path, first: int
) -> LoadedModel | None:
    """The model before round `first`; None: it was random."""
    versions = {m.round_number: m for m in history.models if not m.published}
    if first > 1:
        return load_model(model_path(models, versions[first - 1].sha256))
    start = versions[1].parent_sha256
    if not start:
        return None
    own = model_path(models, start)
    base = load_model(own if own.exists() else Path(config.model.init_from or own))
    if base.sha256 != start:
        raise UsageError(
            f"run {history.run.run_id} cannot be replayed: it began with model "
            f"{start[:12]} and model.init_from is {base.sha256[:12]} now; put the file "
            "of the former into the folder models"
        )
    return base

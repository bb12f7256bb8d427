"""Training steps that run inside a silo."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.code_identity import code_hash
from data_contracts.errors import SiloError
from data_contracts.personal_parts import drop_parts
from data_contracts.round_outcome import TrainingReceipt
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import POOLED_SILO_NAME
from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.settings.training import (
    LocalTrainingConfig,
    ModelConfig,
    ScheduleConfig,
    Weighting,
)
from data_contracts.workspace import Contribution, InputKind, SiloWorkspace
from models.control_variates import DriftCorrection
from models.full_ranking import rank_held_out
from models.learning_rate import round_learning_rate
from models.parameters import (
    AloneModel,
    Vector,
    read_vector,
    vector_hash,
    write_vector,
)
from models.personal_part import PersonalPart, what_is_sent
from models.recommenders.building import history_scorer, layout_over, table_of
from models.recommenders.warm import warm_recommender
from models.sequences import SequenceData, Window
from models.silo_weights import silo_weight
from models.vocabulary import StockedItems, Vocabulary
from models.weighted_mean import UpdateEncoding, shortened
from tasks.local_training.choice_of_people import scored_items
from tasks.local_training.commitments import commit_to, opens
from tasks.local_training.kept_updates import (
    KeptUpdate,
    forget_updates,
    keep_update,
    kept_update,
    last_update,
)
from tasks.local_training.own_part import (
    has_part,
    keep_own_part,
    own_model,
    personal_part,
)
from tasks.local_training.trainer import train, training_seed


@dataclass(frozen=True, kw_only=True)
class RoundJob:
    """What a silo must know to train one round.

    Attributes:
        round_number: from 1.
        learning_rate: of this round.
        model: architecture.
        training: the local recipe.
        encoding: of the update.
        weight_unit: weight of one training example or root; None: every silo weighs
            `1 / num_silos`.
        num_silos: silos in the secure sum.
        weighting: what `weight_unit` is a unit of.
        accepted_round: the round that made the global model; 0: none yet.
        best_round: the round that made the best one so far; 0: none yet.
    """

    round_number: int
    learning_rate: float
    model: ModelConfig
    training: LocalTrainingConfig
    encoding: UpdateEncoding
    weight_unit: float | None
    num_silos: int
    weighting: Weighting = "examples"
    accepted_round: int = 0
    best_round: int = 0

    @classmethod
    def of(
        cls,
        config: FederatedTrainingConfig,
        round_number: int,
        cuts: int,
        silos: tuple[str, ...],
        total_examples: int,
        *,
        vocabulary: Vocabulary,
        admitted: NDArray[np.bool_] | None = None,
        last_mean: NDArray[np.floating] | None = None,
        accepted_round: int = 0,
        best_round: int = 0,
    ) -> RoundJob:
        """The job of one round.

        Args:
            config: of the run.
            round_number: from 1.
            cuts: how often the learning rate was cut.
            silos: in the secure sum.
            total_examples: what all silos weigh, as `silo_weight` has it.
            vocabulary: the items.
            admitted: bool [V], items whose rows take part in the sum; None: all.
            last_mean: float [d], the mean update of the round before.
            accepted_round: the round that made the global model; 0: none yet.
            best_round: the round that made the best one so far; 0: none yet.
        """
        layout = layout_over(config.model, vocabulary)
        encoding = UpdateEncoding.of(
            layout,
            len(silos),
            config.secure_aggregation.clip,
            ring_bits=config.secure_aggregation.ring_bits,
            last_mean=last_mean,
            admission=what_is_sent(config.model, layout, admitted, table_of(layout)),
            # A mean of clipped gradients is within their clip, and its weight within 1.
            variate_range=None
            if config.local_training.drift_correction == "none"
            else config.local_training.clip_norm,
        )
        weighting = config.server_optimizer.weighting
        return cls(
            round_number=round_number,
            learning_rate=round_learning_rate(
                config.local_training.learning_rate, config.schedule, round_number, cuts
            ),
            model=config.model,
            training=config.decided_training,
            encoding=encoding,
            weight_unit=None if weighting == "uniform" else 1.0 / total_examples,
            num_silos=len(silos),
            weighting=weighting,
            accepted_round=accepted_round,
            best_round=best_round,
        )

    def received(self, sent: Vector) -> tuple[Vector, Vector | None]:
        """(model [d], control variate of all [d] or None) of a `RoundStart`."""
        if not self.encoding.num_variates:
            return sent, None
        model, shared = np.split(sent, 2)
        return model, shared

    def weight_of(self, data: SequenceData) -> float:
        """What a silo with this data weighs in the mean."""
        if self.weight_unit is None:
            return 1.0 / self.num_silos
        return silo_weight(data.num_examples, self.weighting) * self.weight_unit

    def noise_in(self, contributors: Collection[str]) -> float:
        """None: only `PrivateJob` has noise."""
        return 0.0

    def input_kind(self, model_hash: str) -> InputKind:
        """What every contribution to the sum of this round must be."""
        return InputKind(self.encoding.ring_bits, self.encoding.fingerprint, model_hash)

    def made_of(
        self, model_hash: str, data: SequenceData, stocked: StockedItems
    ) -> str:
        """SHA-256 of everything that an update follows from."""
        parts = (
            model_hash, self.encoding.fingerprint, self.round_number,
            self.learning_rate.hex(), self.model.model_dump_json(),
            self.training.model_dump_json(), self.weight_unit, self.num_silos,
        )  # fmt: skip
        digest = hashlib.sha256(repr(parts).encode())
        for array in (data.items, data.offsets, data.train_end, stocked.mask):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def train_round(
    workspace: SiloWorkspace, sent: Vector, job: RoundJob
) -> TrainingReceipt:
    """Train on the silo's data and shelve the encoded update for the secure sum.

    Once: asked again for the same round, the silo shelves what it made then.

    Args:
        workspace: of the silo.
        sent: the vector of a `RoundStart`.
        job: the round's recipe.

    Raises:
        NotFiniteError: loss or update is NaN or infinite; nothing is shelved.
    """
    model_hash = vector_hash(sent)
    global_model, shared = job.received(sent)
    personal = personal_part(workspace, job.model)
    start = own_model(workspace, global_model, personal, job.accepted_round)
    data, stocked = workspace.get(SequenceData), workspace.get(StockedItems)
    key = job.made_of(model_hash + vector_hash(start), data, stocked)
    kept = kept_update(workspace.folder, workspace.run_id, job.round_number)
    if kept is None or kept.key != key or not has_part(workspace, personal, job, key):
        kept = _trained(workspace, start, shared, job, key, personal)
        keep_update(workspace.folder, workspace.run_id, job.round_number, kept)
    workspace.put(Contribution(kept.words, job.input_kind(model_hash)))
    return kept.receipt


def _trained(
    workspace: SiloWorkspace,
    start: Vector,
    shared: Vector | None,
    job: RoundJob,
    key: str,
    personal: PersonalPart,
) -> KeptUpdate:
    began = time.monotonic()
    data, module = workspace.get(SequenceData), warm_recommender(workspace, job.model)
    write_vector(module, start)
    last = last_update(workspace.folder, workspace.run_id, job.round_number)
    own = last.variate if last else None
    drift = DriftCorrection(module, shared, own) if shared is not None else None
    loss = train(
        module,
        data,
        job.training,
        context=job.model.context,
        learning_rate=job.learning_rate,
        seed=training_seed(job.training.seed, workspace.silo, job.round_number),
        scored=scored_items(workspace, job.training, module.items.weight.device),
        on_progress=lambda fraction: _tell(workspace, fraction),
        corrections=(drift,) if drift else (),
    )
    seconds = time.monotonic() - began
    model_delta = read_vector(module)
    keep_own_part(workspace, personal, job, model_delta, key)
    model_delta -= start
    model_delta = personal.without(model_delta)
    model_delta = shortened(model_delta, job.training.max_update_norm)
    variate = drift.mean_gradient() if drift else None
    seed = training_seed(job.training.seed, workspace.silo, job.round_number)
    encoded = job.encoding.encode(
        model_delta if variate is None else np.concatenate([model_delta, variate]),
        job.weight_of(data),
        loss,
        dither=np.random.default_rng([seed, 1]).random,
        # What rounding took from the last contribution is made good in this one.
        carried=last.error if last else None,
    )
    round_key = f"{workspace.run_id}/{job.round_number}"
    commitment = commit_to(encoded.words, workspace.folder, round_key)
    receipt = TrainingReceipt(commitment, seconds, code_hash())
    return KeptUpdate(key, encoded.words, encoded.error, receipt, variate)


def forget_rounds(workspace: SiloWorkspace, best_round: int = 0) -> None:
    """The run has ended: delete what was kept to finish an interrupted round.

    The silo's own part of the model of `best_round` stays.
    """
    forget_updates(workspace.folder, workspace.run_id)
    drop_parts(workspace.folder, workspace.run_id, needed=(best_round,), newest=0)


def compare_with_commitment(
    workspace: SiloWorkspace, round_key: str, commitment: str
) -> bool | None:
    """Whether the shelved update is the one that this silo committed to before.

    Args:
        workspace: holds a `Contribution`, which stays there.
        round_key: of the round that the commitment was made in.
        commitment: as recorded.
    """
    words = workspace.get(Contribution).words
    return opens(words, workspace.folder, round_key, commitment)


@dataclass(frozen=True, kw_only=True)
class AloneJob:
    """Training without the others, with the same number of passes.

    Attributes:
        model: architecture.
        training: recipe; its rate is `evaluation.alone_learning_rate`.
        schedule: rounds only count passes and shape the rate.
        evaluation: metric and cut-off that choose the best round.
    """

    model: ModelConfig
    training: LocalTrainingConfig
    schedule: ScheduleConfig
    evaluation: EvaluationConfig

    @classmethod
    def of(cls, config: FederatedTrainingConfig) -> AloneJob:
        """The comparison that belongs to a run."""
        return cls(
            model=config.model,
            training=config.decided_training,
            schedule=config.schedule,
            evaluation=config.evaluation,
        )


def train_alone(workspace: SiloWorkspace, initial_model: Vector, job: AloneJob) -> None:
    """Train on this silo's data alone and shelve the best model by validation NDCG.

    The model stays here: unmasked, it would show the silo's data. Like the federated
    run it starts its optimiser afresh each round and stops after `schedule.patience`
    rounds without a better model; the rate is the one that suits training alone.
    """
    data, module = workspace.get(SequenceData), warm_recommender(workspace, job.model)
    write_vector(module, initial_model)
    scored = scored_items(workspace, job.training, module.items.weight.device)
    best, best_round, best_model = -1.0, 0, initial_model
    for round_number in range(1, job.schedule.rounds + 1):
        _tell(workspace, (round_number - 1) / job.schedule.rounds)
        train(
            module,
            data,
            job.training,
            context=job.model.context,
            learning_rate=round_learning_rate(
                job.evaluation.alone_learning_rate, job.schedule, round_number, cuts=0
            ),
            seed=training_seed(job.training.seed, workspace.silo, round_number),
            scored=scored,
        )
        ranking = rank_held_out(
            history_scorer(module, job.model.context),
            data,
            Window.VALIDATION,
            workspace.get(StockedItems),
            job.evaluation.k,
        )
        if (ndcg := ranking.sums.means()["ndcg"]) > best:
            best, best_round, best_model = ndcg, round_number, read_vector(module)
        if round_number - best_round >= job.schedule.patience:
            break
    workspace.put(AloneModel(best_model))


def hand_over_pooled_model(workspace: SiloWorkspace) -> Vector:
    """The model trained on pooled public data; every real silo refuses."""
    if workspace.silo != POOLED_SILO_NAME:
        raise SiloError(
            f"silo {workspace.silo} does not hand out a model trained on its data alone"
        )
    return workspace.get(AloneModel).vector


def _tell(workspace: SiloWorkspace, fraction: float) -> None:
    workspace.progress.fraction = fraction

"""What a silo must know to train one round privately, alone or with joint noise."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_contracts.privacy_plan import PrivacyPlan
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.training import ModelConfig
from data_contracts.workspace import InputKind
from models.privacy.clipping.engine import EngineName
from models.privacy.joint_noise import JointNoise
from models.privacy.mechanism import Mechanism
from models.recommenders.building import layout_over
from models.vocabulary import Vocabulary
from models.weighted_mean import UpdateEncoding, WeightedMean


@dataclass(frozen=True)
class JointEncoding:
    """Noisy sums of gradients in the ring, as the mean update that they stand for.

    Attributes:
        noise: the plan of all steps.
        users: expected in a step of all silos together, public.
    """

    noise: JointNoise
    users: float

    @property
    def length(self) -> int:
        """Words of an input."""
        return self.noise.size

    def decode(self, total: NDArray[np.signedinteger]) -> WeightedMean:
        """Downhill, the mean gradient of the users of a step; no loss is told."""
        update = self.noise.decode(total).astype(np.float64)
        update /= -self.users
        return WeightedMean(update, weight=1.0, loss=np.nan, clipped=0)


@dataclass(frozen=True, kw_only=True)
class PrivateJob:
    """One round of private training.

    Attributes:
        round_number: from 1.
        model: architecture.
        mechanism: what a silo does in the round.
        engine: what clips.
        encoding: of a silo's input to the sum.
        num_silos: silos in the secure sum.
        fewest_silos: with which it may be opened.
    """

    round_number: int
    model: ModelConfig
    mechanism: Mechanism
    engine: EngineName
    encoding: UpdateEncoding | JointEncoding
    num_silos: int
    fewest_silos: int

    @property
    def learning_rate(self) -> float:
        """For the record."""
        return self.mechanism.learning_rate

    @property
    def steps_so_far(self) -> int:
        """Steps of all rounds up to this one."""
        return self.round_number * self.mechanism.steps

    def noise_in(self, contributors: Collection[str]) -> float:
        """Noise over the clip norm in the sum of these silos, or in each one's update.

        Raises:
            ConfigError: fewer silos than joint noise was sized for.
        """
        if isinstance(self.encoding, JointEncoding):
            return self.encoding.noise.realised(len(contributors))
        return self.mechanism.noise_multiplier

    def input_kind(self, model_hash: str) -> InputKind:
        """What every contribution to the sum of this round must be."""
        if isinstance(self.encoding, JointEncoding):
            return self.encoding.noise.kind(model_hash)
        return InputKind(self.encoding.ring_bits, self.encoding.fingerprint, model_hash)

    def made_of(self, model_hash: str) -> str:
        """SHA-256 of everything public that the round follows from."""
        parts = (model_hash, self.round_number, self.model.model_dump_json(),
                 self.mechanism, self.input_kind(model_hash))  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def private_job(
    config: FederatedTrainingConfig,
    plan: PrivacyPlan,
    round_number: int,
    silos: tuple[str, ...],
    vocabulary: Vocabulary,
    last_mean: NDArray[np.floating] | None,
) -> PrivateJob:
    """The job of one round.

    Args:
        config: of the run.
        plan: what every silo charged.
        round_number: from 1.
        silos: in the secure sum.
        vocabulary: the items.
        last_mean: float [d], the mean update of the round before.
    """
    privacy, joint = config.privacy, config.privacy.mode == "joint"
    layout = layout_over(config.model, vocabulary)
    encoding: UpdateEncoding | JointEncoding
    if joint:
        noise = JointNoise.agreed(
            config,
            noise_multiplier=plan.training.noise_multiplier,
            clip_norm=privacy.clip_norm,
            expected_users=privacy.expected_batch,
            silos=len(silos),
            size=layout.size,
        )
        encoding = JointEncoding(noise, len(silos) * privacy.expected_batch)
    else:
        encoding = UpdateEncoding.of(
            layout,
            len(silos),
            config.secure_aggregation.clip,
            ring_bits=config.secure_aggregation.ring_bits,
            last_mean=last_mean,
        )
        encoding = replace(encoding, tells_loss=False)
    return PrivateJob(
        round_number=round_number,
        model=config.model,
        mechanism=_mechanism(config, plan),
        engine=privacy.engine,
        encoding=encoding,
        num_silos=len(silos),
        fewest_silos=config.cohort.min_silos,
    )


def _mechanism(config: FederatedTrainingConfig, plan: PrivacyPlan) -> Mechanism:
    privacy = config.privacy
    return Mechanism(
        clip_norm=privacy.clip_norm,
        noise_multiplier=plan.training.noise_multiplier,
        sampling_probability=plan.training.sampling_probability,
        steps=privacy.steps_in_round,
        expected_batch=privacy.expected_batch,
        learning_rate=privacy.learning_rate,
        context=config.model.context,
        negatives=privacy.negatives,
        averaging=privacy.averaging,
        proximal_strength=config.local_training.proximal_strength,
    )

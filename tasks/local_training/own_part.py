"""The tensors that a silo trains for itself: where a round begins and what it keeps."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from data_contracts.errors import NotFiniteError
from data_contracts.personal_parts import (
    drop_parts,
    keep_part,
    key_of_part,
    part_up_to,
)
from data_contracts.settings.training import ModelConfig
from data_contracts.workspace import SiloWorkspace
from models.parameters import Vector
from models.personal_part import PersonalPart
from models.recommenders.building import layout_over
from models.vocabulary import Vocabulary


class Job(Protocol):
    """What of a round's job decides which parts are needed."""

    @property
    def round_number(self) -> int:
        """From 1."""

    @property
    def accepted_round(self) -> int:
        """The round that made the global model."""

    @property
    def best_round(self) -> int:
        """The round that made the best one so far."""


def personal_part(workspace: SiloWorkspace, config: ModelConfig) -> PersonalPart:
    """Which tensors `model.personal` leaves to this silo."""
    layout = layout_over(config, workspace.get(Vocabulary))
    return PersonalPart.of(config, layout)


def own_model(
    workspace: SiloWorkspace, model: Vector, personal: PersonalPart, up_to: int
) -> Vector:
    """The global model [d] with the tensors that this silo trained by round `up_to`.

    Before the first round, and where the silo missed all of them, it begins with what
    the global model holds in their place.

    Raises:
        SiloError: the silo's own part is damaged.
    """
    if not personal.names:
        return model
    part = part_up_to(workspace.folder, workspace.run_id, up_to)
    return personal.merged(model, part)


def has_part(
    workspace: SiloWorkspace, personal: PersonalPart, job: Job, key: str
) -> bool:
    """Whether the silo has what it trained for itself in this round, if anything."""
    if not personal.names:
        return True
    return key_of_part(workspace.folder, workspace.run_id, job.round_number) == key


def keep_own_part(
    workspace: SiloWorkspace,
    personal: PersonalPart,
    job: Job,
    trained: Vector,
    key: str,
) -> None:
    """Keep the silo's own tensors out of `trained` [d], before its update is kept.

    Raises:
        NotFiniteError: they hold NaN or infinity; nothing is kept.
    """
    if not personal.names:
        return
    tensors = personal.tensors(trained)
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise NotFiniteError("training gave no finite numbers and nothing was sent")
    folder, run_id = workspace.folder, workspace.run_id
    keep_part(folder, run_id, job.round_number, tensors, key)
    drop_parts(folder, run_id, needed=(job.accepted_round, job.best_round))

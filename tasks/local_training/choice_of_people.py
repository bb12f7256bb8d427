"""What the people of a silo could choose from, and so what its loss compares."""

from __future__ import annotations

import torch

from data_contracts.settings.training import LocalTrainingConfig
from data_contracts.workspace import SiloWorkspace
from models.scored_items import ScoredItems
from models.sequences import SequenceData
from models.vocabulary import StockedItems


def scored_items(
    workspace: SiloWorkspace, config: LocalTrainingConfig, device: torch.device
) -> ScoredItems | None:
    """The items that compete in this silo's loss; None: the whole vocabulary.

    Args:
        workspace: holds the silo's sequences and catalogue.
        config: `scored_items`.
        device: of the model.
    """
    if config.scored_items == "vocabulary":
        return None
    mask = workspace.get(StockedItems).mask.copy()
    if config.scored_items == "trained":
        mask[:] = False
    # Also what has left the catalogue since: it is a target of the loss.
    mask[workspace.get(SequenceData).training_items()] = True
    return None if mask.all() else ScoredItems.of(mask, device)

"""What a silo tells of its people's data with noise, each once in a run.

A release is kept in the silo's own folder before it leaves: asked again, after a crash
say, the silo says the same again instead of drawing new noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from data_contracts.durable_files import write_durably
from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_plan import ChargedPlan, PrivacyPlan
from data_contracts.workspace import SiloWorkspace

Floats = NDArray[np.float64]

RELEASES = "privacy_releases"


def charged_plan(workspace: SiloWorkspace) -> PrivacyPlan:
    """What the silo's ledger charged for this run.

    Raises:
        PrivacyBudgetError: nothing; then nothing may be done.
    """
    if not workspace.has(ChargedPlan):
        raise PrivacyBudgetError(
            f"silo {workspace.silo} has charged nothing for this run, so it neither "
            "trains nor releases anything"
        )
    return workspace.get(ChargedPlan).plan


def released_once(
    workspace: SiloWorkspace, what: str, make: Callable[[], Floats]
) -> Floats:
    """What was released under this name in this run; made now, if nothing was."""
    path = workspace.folder / RELEASES / workspace.run_id / f"{what}.safetensors"
    if not path.exists():
        write_durably(path, save({what: make()}))
    return load(path.read_bytes())[what]

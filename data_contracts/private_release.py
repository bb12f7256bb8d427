"""What a silo tells of its people's data with noise, each once in a run.

A release is kept in the silo's own folder before it leaves: asked again, after a crash
say, the silo says the same again instead of drawing new noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from data_contracts.durable_files import write_durably
from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_plan import ChargedPlan, PrivacyPlan
from data_contracts.workspace import SiloWorkspace

N = TypeVar("N", bound=NDArray[Any])

RELEASES = "privacy_releases"
_PLAN = "plan"


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
    workspace: SiloWorkspace, what: str, make: Callable[[], N], *, plan: str = ""
) -> N:
    """What was released under this name in this run; made now, if nothing was.

    Args:
        workspace: the silo.
        what: name of the release.
        make: draws its noise.
        plan: what else it follows from.

    Raises:
        PrivacyBudgetError: it was released by another plan; to make it anew would be a
            second look at people, which nobody paid for.
    """
    path = workspace.folder / RELEASES / workspace.run_id / f"{what}.safetensors"
    follows_from = np.frombuffer(plan.encode(), np.uint8)
    if not path.exists():
        write_durably(path, save({what: make(), _PLAN: follows_from}))
    kept = load(path.read_bytes())
    if not np.array_equal(kept[_PLAN], follows_from):
        raise PrivacyBudgetError(
            f"silo {workspace.silo} has released {what} in this run with other silos "
            "or settings, and releases it once only; start a new run"
        )
    return cast("N", kept[what])

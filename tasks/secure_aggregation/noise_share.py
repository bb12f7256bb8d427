"""Joint noise inside a silo: the step between training and the secure sum.

The silo's sum of clipped gradients is taken off the shelf and its noisy words are put
there, so what goes on to be masked is never the sum itself. Both the terms that the
silo will accept (`fewest_silos`) and the plan (in the hash of the encoding) come from
the plan the silo was given: a coordinator that gives silos different plans, or offers
a sum of fewer silos than the shares were sized for, gets nothing.
"""

from __future__ import annotations

import secrets

from data_contracts.workspace import SiloWorkspace
from models.privacy.joint_noise import ClippedSum, JointNoise


def add_noise_share(workspace: SiloWorkspace, noise: JointNoise) -> None:
    """Turn the shelved `ClippedSum` into a `Contribution` with this silo's share.

    Raises:
        SiloError: no step has put a sum of clipped gradients on the shelf.
        NotFiniteError: it holds NaN or infinity; nothing may be sent.
    """
    clipped = workspace.take(ClippedSum)
    workspace.put(noise.contribution(clipped, secrets.token_bytes))

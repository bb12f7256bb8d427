"""Joint noise around a secure sum: a silo's share before it, what it came to after it.

The silo's sum of clipped gradients is taken off the shelf and its noisy words are put
there, so what goes on to be masked is never the sum itself. Both the terms that the
silo will accept (`fewest_silos`) and the plan (in the hash of the encoding) come from
the plan the silo was given: a coordinator that gives silos different plans, or offers
a sum of fewer silos than the shares were sized for, gets nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from data_contracts.errors import ConfigError
from data_contracts.secure_sum import SecureSum, SumMode
from data_contracts.workspace import SiloWorkspace
from models.parameters import Vector
from models.privacy.joint_noise import ClippedSum, JointNoise

# In mode homomorphic the coordinator and one silo together read every input, and joint
# noise is sized for at least one silo that works together with it.
_MODES: tuple[SumMode, ...] = ("masked", "two-aggregators")


@dataclass(frozen=True, eq=False)
class PrivateSum:
    """The opened sum of one private step.

    Attributes:
        gradient: float32 [P], sum of all clipped gradients, and noise.
        noise_multiplier: realised with the silos that were in the sum; for the ledger.
        summed: the secure sum behind it.
    """

    gradient: Vector
    noise_multiplier: float
    summed: SecureSum

    @classmethod
    def of(cls, summed: SecureSum, noise: JointNoise) -> PrivateSum:
        """What the unmasked integers stand for.

        Raises:
            ConfigError: fewer silos are in it than the noise was sized for.
        """
        realised = noise.realised(len(summed.contributors))
        return cls(noise.decode(summed.total), realised, summed)


def require_noise_is_hidden(mode: SumMode) -> None:
    """Refuse a mode in which one colluding silo, or none, is enough to see shares.

    Raises:
        ConfigError: which modes will do.
    """
    if mode not in _MODES:
        raise ConfigError(
            f"joint noise and secure_aggregation.mode {mode} do not go together: a "
            "silo's input would be read, and its share of noise is too little alone; "
            f"set the mode to {' or '.join(_MODES)}, or take silo-local noise"
        )


def add_noise_share(workspace: SiloWorkspace, noise: JointNoise) -> None:
    """Turn the shelved `ClippedSum` into a `Contribution` with this silo's share.

    Raises:
        SiloError: no step has put a sum of clipped gradients on the shelf.
        NotFiniteError: it holds NaN or infinity; nothing may be sent.
    """
    clipped = workspace.take(ClippedSum)
    workspace.put(noise.contribution(clipped, secrets.token_bytes))

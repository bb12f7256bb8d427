"""What a secure aggregation ends in: the sum, who is in it, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.sum_parts import SumPart
from data_contracts.workspace import SiloFailure

SumMode = Literal["masked", "two-aggregators", "homomorphic", "plain"]


@dataclass(frozen=True, kw_only=True)
class PhaseAccount:
    """What one phase of the protocol took.

    Attributes:
        phase: its name.
        asked: silos that were called.
        answered: silos whose answer was good.
        bytes_up: payload bytes they sent together.
        seconds: wall time at the coordinator.
    """

    phase: str
    asked: int
    answered: int
    bytes_up: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SecureSum:
    """The opened sum and how it came about.

    Attributes:
        total: signed integers of the ring [d], the exact sum of the contributors'.
        contributors: silos whose input is in the sum, in cohort order.
        dropped: silos whose input is not, and why.
        faults: contributors that vanished or lied while the sum was opened.
        mode: how they were summed.
        bytes_up: silo -> payload bytes it sent.
        bytes_down: payload bytes sent to all silos together.
        commitments: contributor -> sha256 hex of the words it uploaded.
        phases: what each phase took, in order.
        parts: where they were asked for, the parts that `total` is the sum of.
    """

    total: NDArray[np.signedinteger]
    contributors: tuple[str, ...]
    dropped: Mapping[str, SiloFailure]
    faults: Mapping[str, SiloFailure]
    mode: SumMode
    bytes_up: Mapping[str, int]
    bytes_down: int
    commitments: Mapping[str, str]
    phases: tuple[PhaseAccount, ...]
    parts: tuple[SumPart, ...] = ()

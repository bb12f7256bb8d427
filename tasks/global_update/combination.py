"""The parts of a sum become one mean update, whatever a few of them hold.

In order: leave out what no honest silos can have sent, bound norms, combine. Whatever
happens to a part is a remark on each of its silos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import QuorumLostError
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.robustness import parts_needed
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.sum_parts import SumPart
from models.fixed_point import limit_for
from models.robust_aggregation import krum, median, norm_factors, trimmed_mean
from models.weighted_mean import UpdateEncoding, WeightedMean

Floats = NDArray[np.float64]


class Encoding(Protocol):
    """What the words of a sum mean."""

    def decode(self, total: NDArray[np.signedinteger]) -> WeightedMean:
        """The mean update behind a sum [d']."""


@dataclass(frozen=True)
class Part:
    """The weighted mean of some silos' updates, or one silo's update."""

    silos: tuple[str, ...]
    mean: WeightedMean


@dataclass
class _Remarks:
    """Silo -> what was done to the update it is in."""

    told: dict[str, str]

    def on(self, part: Part, sentence: str) -> None:
        whose = "its update" if len(part.silos) == 1 else "the mean of its group"
        self.told |= dict.fromkeys(part.silos, f"{whose} {sentence}")


def combined(
    summed: SecureSum, encoding: Encoding, config: SecureAggregationConfig
) -> WeightedMean:
    """One mean update out of all parts, by the rule and bound of `config`.

    Raises:
        QuorumLostError: fewer parts than the rule needs.
    """
    if config.combine == "mean" and config.norm_bound is None:
        return encoding.decode(summed.total)
    assert isinstance(encoding, UpdateEncoding), "joint noise goes with no defence"
    remarks = _Remarks({})
    parts = _decoded(summed.parts, encoding, remarks)
    parts = _bounded(parts, config, remarks)
    needed = parts_needed(config.combine, config.assumed_attackers)
    if len(parts) < needed:
        raise QuorumLostError(
            f"secure_aggregation.combine {config.combine} against "
            f"{config.assumed_attackers} attackers needs {needed} updates or group "
            f"means and {len(parts)} are left; start the round again when more silos "
            "can answer"
        )
    update = _RULES[config.combine](parts, config.assumed_attackers, remarks)
    return WeightedMean(
        update,
        weight=sum(part.mean.weight for part in parts),
        loss=float(np.median([part.mean.loss for part in parts])),
        clipped=sum(part.mean.clipped for part in parts),
        remarks=remarks.told,
    )


def _decoded(
    sums: Sequence[SumPart], encoding: UpdateEncoding, remarks: _Remarks
) -> list[Part]:
    parts = []
    for one in sums:
        part = Part(one.silos, encoding.decode(one.total))
        largest = len(one.silos) * limit_for(encoding.num_silos, encoding.ring_bits)
        if not -largest <= int(one.total.min()) <= int(one.total.max()) <= largest:
            remarks.on(part, "was left out: it is beyond secure_aggregation.clip")
        elif part.mean.weight <= 0:
            remarks.on(part, "was left out: its weight is not above 0")
        else:
            parts.append(part)
    return parts


def _bounded(
    parts: list[Part], config: SecureAggregationConfig, remarks: _Remarks
) -> list[Part]:
    """Parts beyond the norm bound, shortened; or left out, where enough remain."""
    if config.norm_bound is None or not parts:
        return parts
    factors = norm_factors([part.mean.norm for part in parts], config.norm_bound)
    needed = parts_needed(config.combine, config.assumed_attackers)
    leave_out = (
        config.beyond_norm_bound == "leave-out" and np.sum(factors == 1) >= needed
    )
    kept = []
    for part, factor in zip(parts, factors.tolist(), strict=True):
        if factor == 1:
            kept.append(part)
            continue
        done = "left out" if leave_out else f"scaled by {factor:.3g}"
        remarks.on(
            part,
            f"was {done}: its norm {part.mean.norm:.3g} is beyond "
            f"{config.norm_bound:g} times the median norm",
        )
        if not leave_out:
            shorter = replace(part.mean, update=part.mean.update * factor)
            kept.append(replace(part, mean=shorter))
    return kept


def _mean(parts: Sequence[Part], attackers: int, remarks: _Remarks) -> Floats:
    total = np.zeros_like(parts[0].mean.update)
    for part in parts:
        total += part.mean.weight * part.mean.update
    return total / sum(part.mean.weight for part in parts)


def _median(parts: Sequence[Part], attackers: int, remarks: _Remarks) -> Floats:
    return median([part.mean.update for part in parts])


def _trimmed_mean(parts: Sequence[Part], attackers: int, remarks: _Remarks) -> Floats:
    return trimmed_mean([part.mean.update for part in parts], attackers)


def _krum(parts: Sequence[Part], attackers: int, remarks: _Remarks) -> Floats:
    chosen = parts[krum([part.mean.update for part in parts], attackers)]
    remarks.on(chosen, "was chosen by krum to stand for all")
    return chosen.mean.update


_RULES: dict[str, Callable[[Sequence[Part], int, _Remarks], Floats]] = {
    "mean": _mean,
    "median": _median,
    "trimmed-mean": _trimmed_mean,
    "krum": _krum,
}

"""Which defences against poisoned updates go together, and how many silos they need.

A *part* is what the coordinator sees of the updates: one sum of all silos, the sum of a
group of silos, or, in mode plain, a single update.
"""

from __future__ import annotations

from typing import Literal

Combine = Literal["mean", "median", "trimmed-mean", "krum"]

# A sum of two shows each of the two silos the other's update.
SMALLEST_GROUP = 3


def parts_needed(combine: Combine, attackers: int) -> int:
    """Fewest parts with which the rule withstands this many poisoned ones.

    >>> [parts_needed(rule, 1) for rule in ("mean", "median", "trimmed-mean", "krum")]
    [1, 3, 3, 5]
    """
    spare: dict[str, int] = {"median": 1, "trimmed-mean": 1, "krum": 3}
    return 2 * attackers + spare[combine] if combine in spare else 1


def groups_possible(groups: int, num_silos: int) -> int:
    """As many groups as agreed, or fewer, so that none is too small; at least one.

    >>> [groups_possible(3, n) for n in (12, 9, 8, 2)]
    [3, 3, 2, 1]
    """
    return max(1, min(groups, num_silos // SMALLEST_GROUP))


def complaint_about_defences(
    mode: str, combine: Combine, groups: int, attackers: int, norm_bound: float | None
) -> str:
    """Why these settings do not go together, in one sentence; empty if they do."""
    if mode != "plain" and combine == "krum":
        return (
            f"combine krum compares single updates, which mode {mode} hides; choose "
            "median or trimmed-mean with groups, or mode plain"
        )
    if mode == "plain" and groups > 1:
        return (
            f"groups {groups} has no use in mode plain, which hides nothing; "
            "leave groups at 1"
        )
    if mode == "two-aggregators" and groups > 1:
        return (
            f"groups {groups} would ask the auditor for more than one sum of a round, "
            "which it refuses; leave groups at 1, or set mode to masked"
        )
    if mode != "plain" and groups < parts_needed(combine, attackers):
        return (
            f"combine {combine} against {attackers} attackers needs at least "
            f"{parts_needed(combine, attackers)} groups and groups is {groups}; raise "
            "groups or set combine to mean"
        )
    if mode != "plain" and groups == 1 and norm_bound is not None:
        return (
            "norm_bound compares the norms of updates and one masked sum has nothing "
            "to be compared with; set groups to 2 or more, or leave norm_bound out"
        )
    return ""


def silos_needed(mode: str, combine: Combine, groups: int, attackers: int) -> int:
    """Fewest silos with which a run under these settings can begin."""
    if mode == "plain":
        return parts_needed(combine, attackers)
    return groups * SMALLEST_GROUP if groups > 1 else 1

"""What a silo remembers of its own validation: NDCG of the models it saw last.

A candidate that a silo has just evaluated need not be ranked again for its vote, nor
the accepted model it is compared with. The figures stay in the silo.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.workspace import SiloWorkspace
from models.ranking_metrics import MetricSums

# The last accepted model and this round's candidate, also after some rejected ones.
_REMEMBERED = 8


@dataclass
class OwnScores:
    """Hash of a model -> its metric sums on this silo's validation targets."""

    sums: dict[str, MetricSums] = field(default_factory=dict)


def remember(workspace: SiloWorkspace, model_hash: str, sums: MetricSums) -> None:
    """Keep these sums, and forget those of the models seen longest ago."""
    kept = known(workspace)
    kept.sums.pop(model_hash, None)
    kept.sums[model_hash] = sums
    for old in list(kept.sums)[:-_REMEMBERED]:
        del kept.sums[old]


def known(workspace: SiloWorkspace) -> OwnScores:
    """The silo's scores, none at first."""
    if not workspace.has(OwnScores):
        workspace.put(OwnScores())
    return workspace.get(OwnScores)

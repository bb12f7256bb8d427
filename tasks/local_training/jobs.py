"""The job of a round, private or not."""

from __future__ import annotations

from typing import Any

from data_contracts.privacy_plan import PrivacyPlan
from data_contracts.run_config import FederatedTrainingConfig
from models.vocabulary import Vocabulary
from tasks.local_training.private_jobs import PrivateJob, private_job
from tasks.local_training.silo_side import RoundJob


def job_of_round(
    config: FederatedTrainingConfig,
    round_number: int,
    cuts: int,
    silos: tuple[str, ...],
    total_examples: int,
    *,
    vocabulary: Vocabulary,
    charged: PrivacyPlan | None,
    last_mean: Any = None,
    admitted: Any = None,
    accepted_round: int = 0,
    best_round: int = 0,
) -> RoundJob | PrivateJob:
    """What silos must know to train one round; see `RoundJob.of`.

    Args:
        config: of the run.
        round_number: from 1.
        cuts: how often the learning rate was cut.
        silos: in the secure sum.
        total_examples: training targets of all silos; not used if it is private.
        vocabulary: the items.
        charged: what every silo's privacy ledger charged; None: it is not private.
        last_mean: float [d], the mean update of the round before.
        admitted: bool [V], items whose rows take part in the sum.
        accepted_round: the round that made the global model; 0: none yet.
        best_round: the round that made the best one; 0: none yet.
    """
    if charged is not None:
        return private_job(config, charged, round_number, silos, vocabulary, last_mean)
    return RoundJob.of(
        config, round_number, cuts, silos, total_examples,
        vocabulary=vocabulary, admitted=admitted, last_mean=last_mean,
        accepted_round=accepted_round, best_round=best_round,
    )  # fmt: skip

"""Prefect edge of the preprocessing room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.progress import announce
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.cohort import POOLED_SILO_NAME
from data_contracts.settings.data import PreprocessingConfig
from data_contracts.settings.training import Weighting
from data_contracts.workspace import Cohort, SiloReplies
from models.fixed_point import decode_counts
from models.silo_weights import ROOT_UNIT
from models.vocabulary import Vocabulary
from tasks.preprocessing.sequences import TimeCuts
from tasks.preprocessing.silo_side import count_days, preprocess
from tasks.preprocessing.time_cuts import cuts_at

SumSecurely = Callable[[Cohort, str], SecureSum]


@dataclass(frozen=True)
class PreparedCohort:
    """Which silos are ready to train, and the securely summed size of their data.

    Attributes:
        replies: silos whose sequences are ready, and failures.
        cuts: windows of the global-time protocol; None for leave-one-out.
        total_examples: what all silos weigh, as `silo_weight` has it: training targets,
            or their roots.
        total_users: users over all silos.
    """

    replies: SiloReplies[None]
    cuts: TimeCuts | None
    total_examples: int
    total_users: int
    weighting: Weighting = "examples"

    @property
    def shown_size(self) -> str:
        """The size of all silos' data together, as far as it is known."""
        if self.weighting == "root-examples":
            return f"{self.total_examples / ROOT_UNIT:,.0f} roots of training examples"
        return f"{self.total_examples} training examples"


@task(name="Preprocess on silos", cache_policy=NO_CACHE)
def preprocess_on_silos(
    cohort: Cohort,
    sum_securely: SumSecurely,
    vocabulary: Vocabulary,
    config: PreprocessingConfig,
    *,
    tell_sizes: bool = True,
    weighting: Weighting = "examples",
) -> PreparedCohort:
    """Build every silo's sequences inside the silo; only the summed size is seen.

    Args:
        cohort: silos whose tables are accepted.
        sum_securely: secure aggregation over the contributions of a cohort.
        vocabulary: the items.
        config: filters and windows.
        tell_sizes: sum the sizes of all silos at all; else they are 0.
        weighting: what of the number of examples is summed.
    """
    announce().stage(f"Preprocessing inside {len(cohort.silos)} silos")
    cuts = _agree_on_cuts(cohort, sum_securely, config)
    replies = cohort.call(
        preprocess,
        vocabulary,
        config,
        cuts,
        len(cohort.silos),
        weighting,
        lasting=True,
        retry=True,
    )
    if not tell_sizes:
        return PreparedCohort(replies, cuts, 0, 0)
    sizes = sum_securely(cohort.only(replies.values), "data sizes")
    examples, users = decode_counts(sizes.total)
    return PreparedCohort(replies, cuts, int(examples), int(users), weighting)


@task(name="Preprocess pooled data", cache_policy=NO_CACHE)
def preprocess_pooled(
    hosts: Cohort,
    vocabulary: Vocabulary,
    config: PreprocessingConfig,
    prepared: PreparedCohort,
) -> None:
    """The same for the pretended silo of pooled public data, where there is one."""
    pooled = hosts.only([POOLED_SILO_NAME])
    pooled.call(preprocess, vocabulary, config, prepared.cuts, 1, lasting=True)


def _agree_on_cuts(
    cohort: Cohort, sum_securely: SumSecurely, config: PreprocessingConfig
) -> TimeCuts | None:
    if config.protocol == "leave-one-out":
        return None
    counted = cohort.call(count_days, len(cohort.silos))
    days = sum_securely(cohort.only(counted.values), "interactions per day")
    return cuts_at(
        decode_counts(days.total), config.validation_quantile, config.test_quantile
    )

"""A sum of contributions in the open, for tests of what silos put into one."""

from __future__ import annotations

import numpy as np

from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import Contribution
from tests.simulators.in_process_cohort import InProcessCohort


def sum_in_the_open(cohort: InProcessCohort, purpose: str) -> SecureSum:
    """What secure aggregation would open; every contribution is used up."""
    words = [cohort.workspaces[silo].take(Contribution).words for silo in cohort.silos]
    total = np.sum([word.view(np.int32) for word in words], axis=0, dtype=np.int64)
    return SecureSum(
        total=total,
        contributors=cohort.silos,
        dropped={},
        faults={},
        mode="plain",
        bytes_up={},
        bytes_down=0,
        commitments={},
        phases=(),
    )

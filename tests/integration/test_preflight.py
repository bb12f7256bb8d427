"""A canary round over real actors: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.preflight import CheckStatus
from tests.simulators.sabotage import meddling
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.three_formats import three_formats

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def silos(tmp_path_factory):
    return three_formats(tmp_path_factory.mktemp("tables"))


def checked(config, price=None):
    from flows.preflight import preflight

    return preflight(config, price)


def statuses(report):
    return {check.name: check.status for check in report.checks}


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def not_finite(step, workspace, *args):
    """South's model breaks as soon as it trains."""
    from data_contracts.errors import NotFiniteError

    if workspace.silo == "south" and step.__name__ == "train_sample":
        raise NotFiniteError("the training loss is not a finite number")
    return step(workspace, *args)


def test_a_sound_federation_passes_and_the_real_run_finds_everything_untouched(
    silos, tmp_path, ray_session, prefect_session
):
    config = small_config(silos, tmp_path, **NO_COMPARISON)
    report = checked(config, price=3.0)
    assert report.failed == ()
    assert set(statuses(report)) >= {
        "connectivity", "code", "contracts", "preprocessing", "policy", "training",
        "aggregation", "evaluation", "deadline", "disk of output",
    }  # fmt: skip
    assert set(report.canary.silos) == {"north", "south", "west"}
    assert report.canary.model_bytes == 4 * report.canary.parameters
    assert report.estimate.cost == pytest.approx(
        report.estimate.total_seconds / 3600 * 3.0
    )
    left = files_below(tmp_path)
    assert not [name for name in left if name.startswith(("lineage", "models"))]
    # The next snapshot's drift must be measured against a run's, not a preflight's.
    assert not [name for name in left if "accepted" in name]
    run = train(config)
    assert run.history.rounds[-1].contributors == 3
    assert run.history.rounds[0].bytes_up == pytest.approx(
        sum(one.bytes_up for one in report.canary.silos.values()), rel=0.02
    )


def test_what_breaks_in_one_silo_is_told_with_what_to_do(
    silos, tmp_path, ray_session, prefect_session
):
    config = small_config(silos, tmp_path, cohort={"min_silos": 2}, **NO_COMPARISON)
    with meddling(not_finite):
        report = checked(config)
    told = {check.name: check for check in report.checks}
    assert told["training"].status is CheckStatus.WARNING
    assert "silo south: update was not finite" in told["training"].sentence
    assert set(report.canary.silos) == {"north", "west"}


def test_broken_contracts_below_the_quorum_fail_and_end_the_checks(
    silos, tmp_path, ray_session, prefect_session
):
    config = small_config(silos, tmp_path, contracts={"min_users": 100_000})
    report = checked(config)
    assert {check.name for check in report.failed} == {"contracts"}
    assert "silo north" in report.failed[0].sentence
    assert "training" not in statuses(report)
    assert report.estimate is None

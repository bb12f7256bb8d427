"""The real flow with groups, a median and a vote, while one silo of nine attacks."""

import pytest

from data_contracts.exposure import GROUPS_NOTE, TWO_AGGREGATORS_WARNING
from data_contracts.records import RunStatus, Verdict
from tests.simulators.attacks import Infiltrated, LyingCode, StuffedBallot
from tests.simulators.sabotage import meddling
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.synthetic_tables import synthetic_silo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def defended_run(tmp_path_factory, ray_session, prefect_session):
    folder = tmp_path_factory.mktemp("defended")
    members = [
        synthetic_silo(folder, f"silo-{seed}", users=60, items=100, seed=seed)
        for seed in range(9)
    ]
    config = small_config(
        members, folder / "output",
        local_training={"epochs": 2},
        secure_aggregation={"groups": 3, "combine": "median", "norm_bound": 2.0},
        schedule={"rounds": 2, "acceptance": "vote"},
        **NO_COMPARISON,
    )  # fmt: skip
    with meddling(Infiltrated("silo-4", "train_round", LyingCode(1000))):
        return train(config)


def test_the_run_completes_and_says_what_it_shows(defended_run):
    assert defended_run.history.run.status == RunStatus.COMPLETED
    assert GROUPS_NOTE.format(groups=3) in defended_run.notes
    assert [row.contributors for row in defended_run.history.rounds] == [9, 9]


def test_the_attackers_group_is_set_apart_by_name_in_every_round(defended_run):
    apart = [
        (row.round_number, row.silo, row.sentence)
        for row in defended_run.history.decisions
        if row.verdict == Verdict.UPDATE_SET_APART
    ]
    for number in (1, 2):
        assert len([row for row in apart if row[0] == number]) == 3
        assert any(row[:2] == (number, "silo-4") for row in apart)
    assert all("the mean of its group was scaled" in row[2] for row in apart)


def test_the_vote_is_on_record(defended_run):
    sentences = [
        row.sentence
        for row in defended_run.history.decisions
        if row.verdict == Verdict.ACCEPTED
    ]
    assert sentences
    assert all("of 9 silos voted against it" in sentence for sentence in sentences)


def test_a_run_of_nothing_but_rejections_publishes_the_model_it_began_with(
    tmp_path, ray_session, prefect_session
):
    members = [
        synthetic_silo(tmp_path, f"silo-{seed}", users=60, items=100, seed=seed)
        for seed in range(3)
    ]
    config = small_config(
        members, tmp_path / "output",
        local_training={"epochs": 1},
        schedule={"rounds": 2, "acceptance": "vote"},
        evaluation={
            "per_silo_metrics": False, "baselines": False, "local_only": False,
        },
    )  # fmt: skip
    with meddling(Infiltrated("silo-1", "vote", StuffedBallot(100))):
        run = train(config)
    verdicts = [row.verdict for row in run.history.decisions]
    assert verdicts.count(Verdict.REJECTED) == 2
    assert Verdict.ACCEPTED not in verdicts
    assert len({row.model_sha256 for row in run.history.rounds}) == 1
    assert run.published.sha256 == run.history.rounds[0].model_sha256


def test_with_an_auditor_the_same_silos_make_a_model(
    tmp_path, silos, ray_session, prefect_session
):
    config = small_config(
        silos, tmp_path / "output",
        secure_aggregation={"mode": "two-aggregators"}, **NO_COMPARISON,
    )  # fmt: skip
    run = train(config)
    assert run.history.run.status == RunStatus.COMPLETED
    assert {row.aggregation_mode for row in run.history.rounds} == {"two-aggregators"}
    assert [row.phase for row in run.history.phases[:3]] == [
        "open audit", "split input", "sum masks"
    ]  # fmt: skip
    assert TWO_AGGREGATORS_WARNING in run.notes
    auditor = tmp_path / "output" / "silos" / "auditor"
    assert len(list((auditor / "confirmed_sums").iterdir())) == 2
    assert not (auditor / "sequences").exists()

"""Whole runs with personal layers: resumed to the same bytes, and nothing gets out."""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from safetensors.numpy import load_file

from data_contracts.errors import QuorumLostError
from tasks.evaluation.results import POOLED_SILOS
from tests.simulators.in_process_cohort import InProcessCohort, silos_in_process
from tests.simulators.leak_search import files
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.synthetic_tables import small_silos

pytestmark = pytest.mark.slow

SILOS = ("north", "south", "west")
PERSONAL = NO_COMPARISON | {
    "schedule": {"rounds": 4},
    "local_training": {"epochs": 1},
    "model": {"dim": 8, "context": 10, "dropout": 0.1, "personal": "items"},
}


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return small_silos(tmp_path_factory.mktemp("silos"), SILOS)


@pytest.fixture(scope="module", autouse=True)
def silos_without_ray(prefect_session):
    with (
        patch("flows.federated_training.open_cohort", silos_in_process),
        patch("flows.replay.open_cohort", silos_in_process),
    ):
        yield


@pytest.fixture(scope="module")
def undisturbed(members, tmp_path_factory):
    return train(small_config(members, tmp_path_factory.mktemp("o"), **PERSONAL))


def outcome(run):
    """Every model, every figure, and what each silo has for itself."""
    figures = [
        (row.round_number, row.silo, row.window, row.metric, row.value)
        for row in run.history.metrics
    ]
    models = [row.model_sha256 for row in run.history.rounds]
    return models, run.published.sha256, figures, own_tables(run)


def own_tables(run) -> dict[str, list]:
    """Silo -> its item table that goes with the published model."""
    kept = {}
    for silo in SILOS:
        place = run.store_folder / "silos" / silo / "personal" / run.published.run_id
        (path,) = place.iterdir()
        assert int(path.stem) == run.published.round_number
        kept[silo] = load_file(path)["items.weight"].tolist()
    return kept


@contextmanager
def interrupted(round_number: int, step: str):
    """The run dies once, before this step of a round; its process's memory is gone."""
    from flows import federated_training as flow

    left, honest, seen = [1], getattr(flow, step), []

    def stop(*args, **options):
        seen.append(step)
        if len(seen) == round_number and left[0]:
            left[0] -= 1
            raise QuorumLostError("too few silos are left")
        return honest(*args, **options)

    with patch.object(flow, step, stop):
        yield


@pytest.mark.parametrize(
    ("number", "step"),
    [(2, "update_global_model"), (3, "evaluate_on_silos"), (4, "record_round")],
)
def test_an_interrupted_run_ends_in_the_same_models_and_the_same_parts(
    undisturbed, members, tmp_path, number, step
):
    config = small_config(members, tmp_path, **PERSONAL)
    with interrupted(number, step), pytest.raises(QuorumLostError):
        train(config)
    assert outcome(train(config)) == outcome(undisturbed)


def test_silos_that_start_from_different_parts_are_worth_more_than_the_start(
    undisturbed,
):
    tables = list(own_tables(undisturbed).values())
    assert tables[0] != tables[1] != tables[2]
    first, *_, last = [
        row.value
        for row in undisturbed.history.metrics
        if row.metric == "nll"
        and row.window == "validation"
        and row.silo == POOLED_SILOS
    ]
    assert last < first


def test_a_rejected_round_leaves_the_parts_behind_as_it_found_them(members, tmp_path):
    """Rounds 2 and 3 are refused: round 4 goes on from the parts of round 1."""
    config = small_config(
        members, tmp_path, **PERSONAL | {"local_training": {"epochs": 1}}
    )
    from flows import federated_training as flow

    honest = flow.rule_on

    def reject(metric, standing, schedule, *, run_id, round_number, votes=None):
        worth = metric if round_number in {1, 4} else float("nan")
        return honest(
            worth, standing, schedule,
            run_id=run_id, round_number=round_number, votes=votes,
        )  # fmt: skip

    with patch.object(flow, "rule_on", reject):
        run = train(config)
    starts = [row.model_sha256 for row in run.history.rounds]
    assert starts[0] == starts[1] == starts[2] != starts[3]
    from flows.replay import replay

    found = replay(run.published.run_id, 4, str(run.store_folder))
    assert [one.equal for one in found.rounds] == [True] * 4
    silo = run.store_folder / "silos" / "north" / "personal"
    assert [path.name for path in silo.iterdir()] == [run.published.run_id]


def test_no_message_and_no_file_outside_a_silo_holds_what_it_trained_for_itself(
    members, tmp_path
):
    messages: list[bytes] = []

    class Overheard(InProcessCohort):
        def call(self, step, *args, per_silo=None, **options):
            messages.append(pickle.dumps((args, per_silo)))
            replies = super().call(step, *args, per_silo=per_silo, **options)
            messages.append(pickle.dumps(replies.values))
            return replies

    @contextmanager
    def overheard(silos, config, run_id):
        folder = Path(config.output_folder).resolve() / "silos"
        yield Overheard(silos, folder, run_id)

    secure = {"mode": "plain"}  # contributions leave unmasked: the hardest case
    config = small_config(
        members, tmp_path, **PERSONAL | {"secure_aggregation": secure}
    )
    with patch("flows.federated_training.open_cohort", overheard):
        run = train(config)
    sought = {
        np.float32(row).tobytes()[:16]
        for table in own_tables(run).values()
        for row in table
    }
    assert len(sought) == 3 * 40
    outside = [f.read_bytes() for f in files(tmp_path, [tmp_path / "silos"])]
    assert len(outside) > 10
    for content in [*messages, *outside]:
        assert not [needle for needle in sought if needle in content]
    # The search would have found them: each silo's own file holds its rows.
    own = b"".join(f.read_bytes() for f in files(tmp_path / "silos"))
    assert all(needle in own for needle in sought)


def test_the_published_table_is_the_one_that_everybody_began_with(undisturbed):
    from models.recommenders.building import initial_vector, layout_for

    config = undisturbed.config.model
    (path,) = undisturbed.store_folder.glob(
        f"models/*{undisturbed.published.sha256}*.safetensors"
    )
    table = load_file(path)["items.weight"]
    start = layout_for(config, len(table)).split(initial_vector(config, len(table)))
    assert (table == start["items.weight"]).all()

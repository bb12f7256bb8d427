"""SCAFFOLD over silos in this process: masked sums, silos that miss rounds, deaths."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.errors import SiloError
from data_contracts.workspace import Contribution
from models.control_variates import round_start
from models.fixed_point import limit_for
from models.parameters import vector_hash
from models.sequences import SequenceData
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.local_training.kept_updates import kept_update
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.task import train_on_silos
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.prepared_federation import SETTINGS, PreparedFederation

CLIP_NORM = 1.0
RATE = 0.3
SCAFFOLD = SETTINGS["local_training"] | {
    "optimizer": "sgd",
    "learning_rate": RATE,
    "clip_norm": CLIP_NORM,
    "drift_correction": "scaffold",
    "windows": "random",  # one of each user in a pass: steps are easily counted
}
RECIPE = {
    "local_training": SCAFFOLD,
    "schedule": {"rounds": 9, "decay": "constant", "warmup_rounds": 0},
}


class Run:
    """A run of the federation's silos, round by round."""

    def __init__(self, federation: PreparedFederation) -> None:
        federation.begin_run()
        self.federation, self.round_number, self.variate = federation, 0, None
        self.config = federation.config
        self.model = initialise_global_model.fn(
            self.config.model, federation.vocabulary, self.config.server_optimizer, None
        )

    def play_round(self, absent=()):
        """One more round; silos in `absent` are asked for nothing."""
        self.round_number += 1
        cohort, config = self.federation.cohort, self.config
        job = RoundJob.of(
            config, self.round_number, 0, cohort.silos,
            self.federation.prepared.total_examples,
            vocabulary=self.federation.vocabulary,
        )  # fmt: skip
        sent = round_start(self.model, self.variate, config.local_training)
        present = cohort.only(set(cohort.silos) - set(absent))
        trained = train_on_silos.fn(present, sent.vector, job, config.cohort)
        summed = aggregate_securely.fn(
            cohort.only(trained.values), "model update", self.round_number,
            config.secure_aggregation, min_silos=2,
            kind=job.input_kind(sent.vector_hash),
        )  # fmt: skip
        self.model, mean = update_global_model.fn(
            self.model, summed, job.encoding, config.server_optimizer, self.round_number
        )
        self.variate = mean.variate
        return mean, summed

    def kept(self, silo):
        """The control variate that a silo made in the last round."""
        workspace = self.federation.cohort.workspaces[silo]
        kept = kept_update(workspace.folder, workspace.run_id, self.round_number)
        return kept.variate.astype(np.float64)

    def weight(self, silo):
        data = self.federation.cohort.workspaces[silo].get(SequenceData)
        return data.num_examples / self.federation.prepared.total_examples

    def bits(self):
        return self.model.vector_hash, self.variate.tobytes()


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    return PreparedFederation(tmp_path_factory.mktemp("federation"), **RECIPE)


def same_silos(folder, **settings):
    return PreparedFederation(folder, **(RECIPE | settings))


def test_masked_rounds_are_those_of_the_papers_algorithm(federation):
    """Option II, from models alone: c_k - c + (x - y_k) / (K eta)."""
    run = Run(federation)
    silos = federation.cohort.silos
    before = dict.fromkeys(silos, 0.0)
    shared = 0.0
    for _ in range(3):
        mean, _ = run.play_round()
        moved = np.zeros_like(mean.update)
        for silo in silos:
            data = federation.cohort.workspaces[silo].get(SequenceData)
            steps = 2 * np.ceil((data.train_end >= 2).sum() / SCAFFOLD["batch_size"])
            # y_k - x of a silo that made `steps` steps along g - c_k + c.
            way = -steps * RATE * (run.kept(silo) - before[silo] + shared)
            moved += run.weight(silo) * way
        assert mean.update == pytest.approx(moved, abs=2e-6)
        resolution = CLIP_NORM / limit_for(len(silos))
        before = {silo: run.kept(silo) for silo in silos}
        exact = sum(run.weight(silo) * before[silo] for silo in silos)
        assert np.abs(mean.variate - exact).max() < len(silos) * resolution
        shared = run.variate.astype(np.float32).astype(np.float64)
        assert np.abs(shared).max() > 1e-3
        assert mean.clipped == 0


def test_the_correction_changes_the_second_round_and_not_the_first(
    federation, tmp_path
):
    plain = Run(
        same_silos(tmp_path, local_training=SCAFFOLD | {"drift_correction": "none"})
    )
    corrected = Run(federation)
    for equal in (True, False):
        one, sums = plain.play_round()
        other, twice = corrected.play_round()
        assert np.array_equal(one.update, other.update) is equal
        assert one.variate is None
        size = plain.model.vector.nbytes
        assert sum(twice.bytes_up.values()) - sum(sums.bytes_up.values()) == 4 * size


@pytest.mark.parametrize("mode", ["two-aggregators", "plain", "homomorphic"])
def test_every_mode_of_aggregation_makes_the_same_model(federation, tmp_path, mode):
    if mode == "homomorphic":
        pytest.importorskip("tenseal")
    other = Run(same_silos(tmp_path, secure_aggregation={"mode": mode}))
    masked = Run(federation)
    for _ in range(2):
        other.play_round()
        masked.play_round()
    assert other.bits() == masked.bits()


def test_a_run_whose_processes_die_after_every_round_ends_in_the_same_bits(
    federation, tmp_path
):
    """What is in memory is lost; what lies on the silos' disks and c go on."""
    undisturbed = Run(federation)
    for _ in range(3):
        undisturbed.play_round()
    again = Run(same_silos(tmp_path))
    for _ in range(3):
        again.play_round()
        reborn = same_silos(tmp_path)
        reborn.cohort.run_id = again.federation.cohort.run_id
        for workspace in reborn.cohort.workspaces.values():
            workspace.run_id = reborn.cohort.run_id
        again.federation = reborn
    assert again.bits() == undisturbed.bits()


def test_a_lost_contribution_leaves_no_error_behind(federation):
    """c is the mean of who is in the last sum, so differences cannot pile up."""
    run = Run(federation)
    run.play_round()
    federation.cohort.sabotage["west", "upload_masked_input"] = SiloError("gone")
    try:
        _, summed = run.play_round()
    finally:
        federation.cohort.sabotage.clear()
    assert "west" not in summed.contributors
    run.play_round(absent=["south"])
    mean, _ = run.play_round()
    silos = federation.cohort.silos
    exact = sum(run.weight(silo) * run.kept(silo) for silo in silos)
    assert mean.variate == pytest.approx(exact, abs=1e-8)


def test_a_silo_takes_part_only_with_the_control_variate_that_the_sum_names(federation):
    run = Run(federation)
    run.play_round()
    sent = round_start(run.model, run.variate, run.config.local_training)
    assert sent.vector_hash == vector_hash(sent.vector)
    other = round_start(run.model, run.variate + 1, run.config.local_training)
    job = RoundJob.of(
        run.config, 2, 0, federation.cohort.silos, federation.prepared.total_examples,
        vocabulary=federation.vocabulary,
    )  # fmt: skip
    train_on_silos.fn(federation.cohort, sent.vector, job, run.config.cohort)
    kind = federation.cohort.workspaces["north"].get(Contribution).kind
    assert kind == job.input_kind(sent.vector_hash)
    assert kind != job.input_kind(other.vector_hash)
    assert kind != job.input_kind(run.model.vector_hash)

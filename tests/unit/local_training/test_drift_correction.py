"""SCAFFOLD: with the correction many local steps lead to the optimum of all silos."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from models.control_variates import DriftCorrection
from models.parameters import read_vector, write_vector
from tasks.local_training.trainer import follow_gradients

RATE, STEPS = 0.02, 40
WEIGHTS = np.array([0.5, 0.3, 0.2])
# Silo k loses (y - centre_k)' diag(curvature_k) (y - centre_k) / 2.
CURVATURES = np.array([[1.0, 8.0, 2.0], [6.0, 1.0, 0.5], [3.0, 3.0, 9.0]])
CENTRES = np.array([[1.0, -2.0, 0.5], [-3.0, 4.0, 1.0], [2.0, 0.0, -5.0]])
OPTIMUM = WEIGHTS @ (CURVATURES * CENTRES) / (WEIGHTS @ CURVATURES)
UNCLIPPED = 1e6


class Point(nn.Module):
    """The model: a point, in two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rest = (nn.Parameter(torch.zeros(n)) for n in (1, 2))

    def loss(self, silo: int) -> torch.Tensor:
        away = torch.cat([self.first, self.rest]) - torch.from_numpy(CENTRES[silo])
        return (torch.from_numpy(CURVATURES[silo]) * away**2).sum() / 2


def step_along(loss, module, optimizer, correction, clip_norm=UNCLIPPED):
    optimizer.zero_grad()
    loss.backward()
    follow_gradients(module, optimizer, clip_norm, (correction,))


@dataclass
class Federation:
    """Silos that make `STEPS` SGD steps a round, by the trainer's own step.

    Attributes:
        factor: the correction is multiplied by this; 1 is SCAFFOLD, 0 FedAvg.
    """

    factor: float = 1.0
    model: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))
    shared: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))
    own: dict[int, np.ndarray] = field(default_factory=dict)
    module: Point = field(default_factory=Point)

    def play_round(self) -> None:
        deltas, factor = [], np.float32(self.factor)
        for silo in range(3):
            write_vector(self.module, self.model)
            own = self.own.get(silo)
            correction = DriftCorrection(
                self.module, factor * self.shared, None if own is None else factor * own
            )
            optimizer = torch.optim.SGD(self.module.parameters(), RATE)
            for _ in range(STEPS):
                step_along(self.module.loss(silo), self.module, optimizer, correction)
            deltas.append(read_vector(self.module) - self.model)
            self.own[silo] = correction.mean_gradient()
        self.model = (self.model + WEIGHTS @ deltas).astype(np.float32)
        means = [self.own[silo] for silo in range(3)]
        self.shared = (WEIGHTS @ means).astype(np.float32)

    def distance_after(self, rounds: int) -> float:
        for _ in range(rounds):
            self.play_round()
        return float(np.linalg.norm(self.model - OPTIMUM))


def test_silos_that_drift_apart_find_the_optimum_of_all_only_with_the_correction():
    assert Federation().distance_after(60) < 1e-5
    assert Federation(factor=0.0).distance_after(60) > 0.5


@pytest.mark.parametrize("factor", [-1.0, -0.5, 0.5, 0.9, 1.1, 2.0])
def test_a_correction_of_another_sign_or_scale_does_not_find_it(factor):
    assert not Federation(factor=factor).distance_after(60) < 1e-2


def test_rounds_are_those_of_the_papers_algorithm():
    """Algorithm 1, all silos sampled, eta_g 1, option II, with weights for 1 / N."""
    x, c, own = np.zeros(3), np.zeros(3), np.zeros((3, 3))
    ours = Federation()
    for _ in range(6):
        ours.play_round()
        moves, changes = [], []
        for k in range(3):
            y = x.copy()
            for _ in range(STEPS):
                gradient = CURVATURES[k] * (y - CENTRES[k])
                y = y - RATE * (gradient - own[k] + c)
            renewed = own[k] - c + (x - y) / (STEPS * RATE)
            moves.append(y - x)
            changes.append(renewed - own[k])
            own[k] = renewed
        x, c = x + WEIGHTS @ moves, c + WEIGHTS @ changes
        assert ours.model == pytest.approx(x, abs=2e-5)
        assert ours.shared == pytest.approx(c, abs=2e-4)
        assert [ours.own[k] for k in range(3)] == [
            pytest.approx(o, abs=2e-4) for o in own
        ]


def gradients_after(correction: DriftCorrection, module: Point) -> list[np.ndarray]:
    """What is left of gradients 1, 2, 3 in two steps."""
    left = []
    for _ in range(2):
        module.first.grad = torch.tensor([1.0])
        module.rest.grad = torch.tensor([2.0, 3.0])
        correction.add_gradient()
        left.append(torch.cat([module.first.grad, module.rest.grad]).numpy())
    return left


def test_a_silo_without_a_variate_of_its_own_trains_uncorrected():
    module, shared = Point(), np.array([7.0, 8.0, 9.0], np.float32)
    newcomer = DriftCorrection(module, shared, None)
    assert [left.tolist() for left in gradients_after(newcomer, module)] == [
        [1.0, 2.0, 3.0]
    ] * 2
    assert newcomer.mean_gradient().tolist() == [1.0, 2.0, 3.0]


def test_the_mean_is_that_of_gradients_before_they_are_corrected():
    module, shared = Point(), np.array([7.0, 8.0, 9.0], np.float32)
    member = DriftCorrection(module, shared, np.array([1.0, 1.0, 4.0], np.float32))
    assert [left.tolist() for left in gradients_after(member, module)] == [
        [7.0, 9.0, 8.0]
    ] * 2
    assert member.mean_gradient().tolist() == [1.0, 2.0, 3.0]


def test_without_a_step_a_silo_keeps_its_variate():
    own = np.array([1.0, 1.0, 4.0], np.float32)
    shared = np.zeros(3, np.float32)
    assert (
        DriftCorrection(Point(), shared, own).mean_gradient().tolist() == own.tolist()
    )


def test_the_mean_of_clipped_gradients_stays_within_their_clip():
    """What the range of a control variate in a secure sum rests on."""
    module = Point()
    zeros = np.zeros(3, np.float32)
    correction = DriftCorrection(module, zeros, zeros)
    optimizer = torch.optim.SGD(module.parameters(), RATE)
    for silo in (0, 1, 2, 0):
        step_along(100 * module.loss(silo), module, optimizer, correction, 0.5)
    norm = np.linalg.norm(correction.mean_gradient())
    assert 0.1 < norm <= 0.5

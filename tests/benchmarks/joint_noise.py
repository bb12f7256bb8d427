"""Joint beside silo-local noise at equal epsilon: `make bench-joint-noise`.

Both modes add what protects every user equally, with shares drawn and summed as in a
run; the figure is the noise that is left on the mean gradient of a step. Costs are CPU
time of one share, beside masking it for ten silos in the same run. One JSON line per
figure; goals where there is one.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.fixed_point import signed
from models.privacy.joint_noise import JointNoise, noise_on_mean
from tasks.reporting.canvas import BAD, GOOD, new_figure, svg_text
from tasks.secure_aggregation.masking import Mask, apply_masks
from tests.benchmarks.attack_pictures import write
from tests.benchmarks.figures import say

NOISE_MULTIPLIER, CLIP_NORM, USERS = 1.0, 0.5, 500.0
COORDINATES = 20_000
TIMED = 1_000_000


@dataclass(frozen=True)
class Federation:
    """How many silos there are, must stay, and may collude."""

    silos: int
    at_least: int
    colluders: int

    @property
    def noise(self) -> JointNoise:
        """The plan of its steps."""
        return plan(COORDINATES, self.silos, self.at_least, self.colluders)

    @property
    def name(self) -> str:
        """As figures are named."""
        return f"n{self.silos}_min{self.at_least}_t{self.colluders}"


FEDERATIONS = (
    Federation(3, 3, 1),
    Federation(5, 4, 1),
    Federation(10, 8, 1),
    Federation(20, 16, 2),
)
FULL_SHARE = Federation(2, 2, 1)  # the other one is the attacker


def main() -> None:
    """Print every figure and draw the comparison."""
    joint, local = [], []
    for federation in FEDERATIONS:
        joint.append(measured(federation.noise, federation.silos))
        local.append(measured(FULL_SHARE.noise, federation.silos))
        ratio, name = joint[-1] / local[-1], federation.name
        say(f"joint_noise_over_local_noise_{name}", ratio, "ratio", "< 1")
        expected = 1 / math.sqrt(federation.at_least - federation.colluders)
        say(f"joint_noise_over_local_noise_{name}_by_formula", expected, "ratio")
    write("joint_and_local_noise.svg", picture(joint, local))
    noise = plan(TIMED, 10, 8, 1)
    vector = np.zeros(TIMED, np.float32)
    sharing = cpu_seconds(lambda: noise.share(vector, secrets.token_bytes))
    words = noise.share(vector, secrets.token_bytes)
    masks = [Mask(secrets.token_bytes(32), bool(i % 2)) for i in range(10)]
    masking = cpu_seconds(lambda: apply_masks(words, masks))
    say("noise_share_ns_per_parameter", sharing * 1e9 / TIMED, "ns", "<= 500")
    say("mask_ns_per_parameter_n10", masking * 1e9 / TIMED, "ns")


def plan(size: int, silos: int, at_least: int, colluders: int) -> JointNoise:
    """The same protection of every user in all federations."""
    return JointNoise(
        noise_multiplier=NOISE_MULTIPLIER,
        clip_norm=CLIP_NORM,
        size=size,
        silos=silos,
        silos_at_least=at_least,
        colluders=colluders,
        largest=USERS,
    )


def measured(noise: JointNoise, silos: int) -> float:
    """Standard deviation of the noise on the mean of so many silos' sums."""
    empty = np.zeros(noise.size, np.float32)
    total: NDArray[np.int64] = np.zeros(noise.size, np.int64)
    for _ in range(silos):
        total += signed(noise.share(empty, secrets.token_bytes))
    return float(total.std()) * noise.grid / (silos * USERS)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the quickest of five times, after one to warm up."""
    seconds = []
    for _ in range(6):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds[1:])


def picture(joint: list[float], local: list[float]) -> str:
    """Noise on the mean over the number of silos; lines computed, points measured."""
    title = "Noise on the mean gradient at equal epsilon"
    figure, axes = new_figure(5.6, 2.9)
    silos = [federation.silos for federation in FEDERATIONS]
    expected = {
        BAD: [noise_on_mean(NOISE_MULTIPLIER, CLIP_NORM, USERS, n) for n in silos],
        GOOD: [f.noise.noise_on_mean(USERS, f.silos) for f in FEDERATIONS],
    }
    for colour, points, name in ((BAD, local, "silo-local"), (GOOD, joint, "joint")):
        line = expected[colour]
        axes.plot(silos, line, color=colour, lw=1.2)
        axes.plot(silos, points, "o", color=colour, markersize=5)
        axes.annotate(
            name, (silos[-1], line[-1]), xytext=(8, 0), textcoords="offset points",
            color=colour, va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set_xticks(silos, [f"{f.silos}" for f in FEDERATIONS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("silos")
    axes.set_ylabel("standard deviation")
    return svg_text(figure, title)


if __name__ == "__main__":
    main()

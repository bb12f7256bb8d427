"""Draws the pictures of the privacy guide: `make attack-pictures`.

On MovieLens-100K and the product's own model: whose items can be read off the update of
one training step, as it is and under differential privacy. Every run draws its noise
anew, from the operating system, so pictures and figures differ a little each time. One
JSON line per figure; goals where there is one.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.columns import Column, TableName
from data_contracts.settings.data import DataConfig
from data_contracts.settings.training import ModelConfig
from models.fixed_point import signed
from models.parameters import write_vector
from models.privacy.attacks import (
    ItemRecovery,
    gradient_sum,
    item_table_of,
    row_movement,
    touched_items,
)
from models.privacy.joint_noise import JointNoise
from models.recommenders.building import build_recommender, initial_vector
from models.recommenders.sequence_recommender import SequenceRecommender
from models.vocabulary import Vocabulary
from tasks.ingestion.downloads import fetch, sources_of
from tasks.ingestion.movielens import read_movielens
from tasks.preprocessing.sequences import build_sequences
from tasks.reporting.canvas import BAD, FAINT, INK, MUTED, new_figure, svg_text
from tests.benchmarks.figures import say

IMAGES = Path(__file__).parents[2] / "infra/docs/images"
PEOPLE = (1, 8, 64, 512)
PICTURED, DRAWS = 8, 10
CLIP_NORM, NOISE_MULTIPLIER = 0.5, 0.5
BINS = 60
DARK = {
    "--ink": "#e6e9ef",
    "--muted": "#9aa4b5",
    "--faint": "#566073",
    "--good": "#5db3f0",
    "--bad": "#f29152",
}

Histories = list[NDArray[np.int32]]


@dataclass(frozen=True)
class Attack:
    """One attack on one update.

    Attributes:
        movement: float [V], how far each row moved from the middle one.
        touched: bool [V], items of the people behind the update.
    """

    movement: NDArray[np.float64]
    touched: NDArray[np.bool_]

    @property
    def recovery(self) -> ItemRecovery:
        """How well it went."""
        return ItemRecovery.of(self.movement, self.touched)


def main() -> None:
    """Print every figure and write both pictures."""
    module, histories = model_and_people()
    for people in PEOPLE:
        behind = histories[:people]
        plain = plain_attack(module, behind)
        private = private_attacks(module, behind, DRAWS)
        area = float(np.mean([attack.recovery.area for attack in private]))
        goal = ">= 0.95" if people <= 64 else ""
        say(f"plain_precision_{people}_people", plain.recovery.precision, "ratio", goal)
        say(f"guessing_precision_{people}_people", plain.recovery.chance, "ratio")
        say(f"private_area_{people}_people", area, "ratio", "0.4 to 0.6")
        if people == PICTURED:
            write("attack_on_a_plain_update.svg", picture(plain, "as it is"))
            write("attack_under_noise.svg", picture(private[0], "clipped and noised"))


def model_and_people(
    cache_folder: str = DataConfig().cache_folder,
) -> tuple[SequenceRecommender, Histories]:
    """The default model as a run starts with it, and MovieLens-100K's people."""
    cache = Path(cache_folder).expanduser()
    source, archive = fetch(sources_of("ml-100k", "auto"), cache)
    interactions = read_movielens(archive, source)[TableName.INTERACTIONS]
    items = sorted(pc.unique(interactions[Column.ITEM]).to_pylist())
    data = build_sequences(interactions, Vocabulary(items), 3, None)
    config = ModelConfig()
    module = build_recommender(config, len(items)).eval()
    write_vector(module, initial_vector(config, len(items)))
    longest = config.context + 1
    people = range(data.num_users)
    return module, [data.training_history(user)[-longest:] for user in people]


def plain_attack(module: SequenceRecommender, histories: Histories) -> Attack:
    """On the sum of these people's gradients as it is."""
    return attack_on(module, gradient_sum(module, histories), histories)


def private_attacks(
    module: SequenceRecommender, histories: Histories, times: int
) -> list[Attack]:
    """On the clipped sum, with fresh noise each time.

    It is the noise of one silo alone: joint noise in which the only other share is the
    attacker's own.
    """
    clipped = gradient_sum(module, histories, CLIP_NORM)
    noise = JointNoise(
        noise_multiplier=NOISE_MULTIPLIER,
        clip_norm=CLIP_NORM,
        size=clipped.size,
        silos=2,
        silos_at_least=2,
        colluders=1,
        largest=float(len(histories)),
    )
    shares = (noise.share(clipped, secrets.token_bytes) for _ in range(times))
    updates = (noise.decode(signed(share)) for share in shares)
    return [attack_on(module, update, histories) for update in updates]


def attack_on(
    module: SequenceRecommender, update: NDArray[np.floating], histories: Histories
) -> Attack:
    """On whatever was sent, float [P]."""
    touched = touched_items(histories, module.items.num_embeddings)
    return Attack(row_movement(item_table_of(module, update)), touched)


def picture(attack: Attack, how: str) -> str:
    """How far the rows of people's items moved, and how far those of all others."""
    movement, touched, found = attack.movement, attack.touched, attack.recovery
    k = int(touched.sum())
    title = (
        f"An update {how}: of the {k} rows that moved most, "
        f"{round(found.precision * k)} are theirs"
    )
    figure, axes = new_figure(6.6, 2.9)
    seen = np.log10(movement)
    edges = np.linspace(seen.min(), seen.max(), BINS + 1)
    groups = (
        (~touched, FAINT, MUTED, 0.01, "left", "items of nobody among them"),
        (touched, BAD, BAD, 0.99, "right", "items of these people"),
    )
    for rows, colour, ink, place, side, text in groups:
        heights = np.histogram(seen[rows], edges)[0]
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.7, lw=0)
        axes.annotate(
            f"{np.count_nonzero(rows)} {text}", (place, 0.98),
            xycoords="axes fraction", color=ink, ha=side, va="top",
        )  # fmt: skip
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    axes.set_xlabel("how far a row moved from the middle row, power of ten")
    axes.set_ylabel("items")
    axes.set_title(title, color=INK, loc="left", fontsize=9)
    return svg_text(figure, title)


def write(name: str, svg: str) -> None:
    """A file that is legible on light and on dark pages."""
    IMAGES.mkdir(exist_ok=True)
    colours = " ".join(f"{variable}: {colour};" for variable, colour in DARK.items())
    style = f"<style>@media (prefers-color-scheme: dark) {{ svg {{ {colours} }} }}"
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening, "the canvas gives one <svg> element"
    text = f"{opening[0]}\n{style}</style>{svg[opening.end() :]}\n"
    (IMAGES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

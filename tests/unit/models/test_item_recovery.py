"""Items behind a plain update are read off it; behind a private one they are not."""

import re
import secrets
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from scipy import stats

from data_contracts.settings.training import ModelConfig
from models.fixed_point import signed
from models.parameters import write_vector
from models.privacy.attacks import (
    ItemRecovery,
    area_under_roc,
    gradient_sum,
    item_table_of,
    precision_at_k,
    row_movement,
    touched_items,
    user_gradient,
)
from models.privacy.joint_noise import JointNoise
from models.recommenders.building import build_recommender, initial_vector
from tests.benchmarks import attack_pictures

ITEMS, PEOPLE, CLIP_NORM = 2000, 12, 0.5
MODEL = ModelConfig(dim=32, blocks=1, heads=2, context=40, dropout=0.0)


@pytest.fixture(scope="module")
def module():
    built = build_recommender(MODEL, ITEMS).eval()
    write_vector(built, initial_vector(MODEL, ITEMS))
    return built


@pytest.fixture(scope="module")
def histories():
    """Popular items come often, as they do among people."""
    weights = 1 / np.arange(10, ITEMS + 10)
    order = np.random.default_rng(0)
    return [
        order.choice(ITEMS, 41, replace=False, p=weights / weights.sum()).astype(
            np.int32
        )
        for _ in range(PEOPLE)
    ]


def recovery(module, update, histories) -> ItemRecovery:
    movement = row_movement(item_table_of(module, update))
    return ItemRecovery.of(movement, touched_items(histories, ITEMS))


def noised(clipped, noise_multiplier):
    noise = JointNoise(
        noise_multiplier=noise_multiplier, clip_norm=CLIP_NORM, size=clipped.size,
        silos=2, silos_at_least=2, colluders=1, largest=float(PEOPLE),
    )  # fmt: skip
    return noise.decode(signed(noise.share(clipped, secrets.token_bytes)))


@pytest.mark.parametrize("people", [1, 4, PEOPLE])
def test_a_plain_update_names_the_items_of_the_people_behind_it(
    people, module, histories
):
    behind = histories[:people]
    found = recovery(module, gradient_sum(module, behind), behind)
    assert found.precision > 0.95
    assert found.area > 0.95
    assert found.chance < 0.2


def test_clipping_alone_hides_nothing(module, histories):
    clipped = gradient_sum(module, histories, CLIP_NORM)
    assert recovery(module, clipped, histories).precision > 0.95


@pytest.mark.parametrize("people", [1, PEOPLE])
def test_under_noise_the_attack_is_at_chance_level(people, module, histories):
    behind = histories[:people]
    clipped = gradient_sum(module, behind, CLIP_NORM)
    found = [recovery(module, noised(clipped, 0.5), behind) for _ in range(10)]
    assert 0.4 < np.mean([one.area for one in found]) < 0.6
    assert np.mean([one.precision for one in found]) < found[0].chance + 0.1


def test_noise_that_is_far_too_small_is_seen_by_the_same_attack(module, histories):
    clipped = gradient_sum(module, histories, CLIP_NORM)
    assert recovery(module, noised(clipped, 0.002), histories).area > 0.9


def test_a_gradient_is_that_of_the_mean_loss_of_one_user(module, histories):
    history = histories[0]
    items = torch.from_numpy(history.astype(np.int64))[None]
    scores = module.encode(items[:, :-1])[0] @ module.items.weight.T
    loss = torch.nn.functional.cross_entropy(scores, items[0, 1:])
    parts = torch.autograd.grad(loss, list(module.parameters()))
    expected = torch.cat([part.reshape(-1) for part in parts]).numpy()
    assert user_gradient(module, history) == pytest.approx(expected, abs=1e-6)
    table = item_table_of(module, expected)
    assert table.shape == (ITEMS, MODEL.dim)
    assert table == pytest.approx(parts[0].numpy())


def test_no_user_counts_for_more_than_the_clip_norm(module, histories):
    for history in histories[:3]:
        alone = gradient_sum(module, [history], CLIP_NORM)
        assert np.linalg.norm(alone) == pytest.approx(CLIP_NORM)
    loose = gradient_sum(module, histories[:1], 1e6)
    assert loose == pytest.approx(user_gradient(module, histories[0]))
    assert not gradient_sum(module, []).any()


def test_the_area_is_that_of_the_rank_test():
    order = np.random.default_rng(3)
    scores, touched = order.integers(0, 9, 50).astype(float), order.random(50) < 0.4
    ranked = stats.mannwhitneyu(scores[touched], scores[~touched]).statistic
    pairs = touched.sum() * (~touched).sum()
    assert area_under_roc(scores, touched) == pytest.approx(ranked / pairs)


@pytest.mark.parametrize(
    ("scores", "precision", "area"),
    [([4, 3, 2, 1], 1.0, 1.0), ([1, 2, 3, 4], 0.0, 0.0), ([1, 1, 1, 1], 1.0, 0.5)],
)
def test_scores_by_hand(scores, precision, area):
    touched = np.array([True, True, False, False])
    scores = np.array(scores, float)
    assert precision_at_k(scores, touched) == precision
    assert area_under_roc(scores, touched) == area


@pytest.mark.parametrize(
    "name", ["attack_on_a_plain_update", "attack_under_noise", "joint_and_local_noise"]
)
def test_the_guide_s_pictures_are_small_and_legible_on_dark_pages(name):
    file: Path = attack_pictures.IMAGES / f"{name}.svg"
    svg = file.read_text("utf-8")
    assert ElementTree.fromstring(svg).get("aria-label")
    assert len(svg) < 60_000
    assert "http" not in svg.replace("http://www.w3.org/", "")
    light = set(re.findall(r"var\((--[\w-]+), #", svg))
    dark = set(re.findall(r"(--[\w-]+): #", svg))
    assert light - {"--surface"} <= dark


def test_a_picture_says_in_words_what_it_shows(module, histories):
    (attack,) = attack_pictures.private_attacks(module, histories, 1)
    svg = attack_pictures.picture(attack, "clipped and noised")
    k = int(attack.touched.sum())
    told = round(attack.recovery.precision * k)
    assert f"of the {k} rows that moved most, {told} are theirs" in svg

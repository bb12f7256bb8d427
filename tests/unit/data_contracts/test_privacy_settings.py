"""What a private run must say, and what it must not ask for."""

import math

import pytest

from data_contracts.errors import ConfigError
from data_contracts.run_config import parse_config
from data_contracts.settings.privacy import PrivacyConfig

GOOD = {
    "data": {"dataset": "ml-100k"},
    "privacy": {"mode": "local", "declared_users": 1000},
}


def configured(**sections):
    tree = {name: dict(values) for name, values in GOOD.items()}
    for name, values in sections.items():
        tree[name] = tree.get(name, {}) | values
    return parse_config(tree, origin="test")


def test_privacy_is_off_unless_it_is_asked_for():
    config = parse_config({"data": {"dataset": "ml-100k"}}, origin="test")
    assert not config.privacy.on
    assert config.told_contracts is config.contracts


def test_delta_follows_from_the_declared_users():
    assert configured().privacy.target_delta == pytest.approx(1000**-1.1)
    assert configured(privacy={"delta": 1e-6}).privacy.target_delta == 1e-6


def test_a_private_run_tells_no_counts():
    assert configured().contracts.tell_counts
    assert not configured().told_contracts.tell_counts


def test_batches_are_sized_by_public_numbers():
    privacy = configured(privacy={"sampling_probability": 0.2}).privacy
    assert privacy.expected_batch == 200.0


def test_a_round_of_joint_noise_is_one_step_of_adam():
    joint = configured(privacy={"mode": "joint", "learning_rate": 0.01})
    assert joint.privacy.steps_in_round == 1
    assert joint.moving_optimizer.name == "adam"
    assert joint.moving_optimizer.learning_rate == 0.01
    local = configured(privacy={"steps_per_round": 7})
    assert local.privacy.steps_in_round == 7
    assert local.moving_optimizer == local.server_optimizer


REFUSED = {
    "nobody declared": ({"privacy": {"declared_users": None}}, "needs declared_users"),
    "few declared": ({"privacy": {"declared_users": 5}}, "greater than or equal"),
    "nothing left": ({"privacy": {"epsilon": 0.4}}, "leave nothing to train with"),
    "counts per day": (
        {"preprocessing": {"protocol": "global-time"}},
        "counts interactions per day",
    ),
    "counts per item": (
        {"secure_aggregation": {"min_silos_per_item": 2}},
        "counts what people use",
    ),
    "steps said twice": (
        {"local_training": {"max_steps": 5}},
        "privacy.steps_per_round says how many steps",
    ),
    "a pull of nothing": (
        {"privacy": {"mode": "joint"}, "local_training": {"proximal_strength": 0.1}},
        "has nothing to pull",
    ),
    "a share in the clear": (
        {"privacy": {"mode": "joint"}, "secure_aggregation": {"mode": "plain"}},
        "a share of noise alone hides nobody",
    ),
    "a share in a group": (
        {"privacy": {"mode": "joint"}, "secure_aggregation": {"groups": 2}},
        "adds all silos up at once",
    ),
    "too many colluders": (
        {"privacy": {"mode": "joint", "colluding_silos": 3}},
        "needs cohort.min_silos 4 or more",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_with_a_sentence(case):
    sections, says = REFUSED[case]
    with pytest.raises(ConfigError, match=says):
        configured(**sections)


def test_rounding_of_joint_noise_is_paid_from_delta():
    settings = {"mode": "joint", "declared_users": 900, "delta": 1e-6}
    privacy = PrivacyConfig(**settings, epsilon=8.0)
    rounding = 1e6 * 2.0**-60 * math.exp(8.0)
    assert privacy.spendable_delta == pytest.approx(1e-6 - rounding, rel=1e-12)
    assert 0.99 < privacy.spendable_delta / privacy.target_delta < 1
    with pytest.raises(ValueError, match="lower epsilon"):
        PrivacyConfig(**settings, epsilon=14.0)
    alone = PrivacyConfig(**settings | {"mode": "local"}, epsilon=50.0)
    assert alone.spendable_delta == alone.target_delta / 2

"""Joint noise through the whole protocol: right after unmasking, or never unmasked."""

import math
import secrets

import numpy as np
import pytest

from data_contracts.errors import QuorumLostError, SiloError
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution
from models.fixed_point import signed
from models.privacy.joint_noise import ClippedSum, JointNoise
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.in_process_cohort import InProcessCohort, honestly
from tests.simulators.noise_checks import ENOUGH, is_noise_of

SILOS = tuple(f"silo-{number}" for number in range(1, 7))
MODEL = "ab" * 32
MASKED = SecureAggregationConfig(mode="masked")


def plan_for(size=ENOUGH, **changes) -> JointNoise:
    values = {
        "noise_multiplier": 0.8,
        "clip_norm": 0.5,
        "silos": len(SILOS),
        "silos_at_least": 5,
        "colluders": 1,
        "largest": 50.0,
    }
    return JointNoise(size=size, **(values | changes))


@pytest.fixture
def cohort(tmp_path):
    return InProcessCohort(SILOS, tmp_path)


def sums_of(plan):
    """What the users of each silo put in; a few clip norms in each coordinate."""
    generator = np.random.default_rng(1)
    return {s: generator.normal(size=plan.size).astype(np.float32) for s in SILOS}


def add_noise_share(workspace, plan):
    """What a silo does with the sum of a private step; see `train_round_privately`."""
    clipped = workspace.take(ClippedSum)
    workspace.put(plan.contribution(clipped, secrets.token_bytes))


def add_shares(cohort, plan):
    for silo, vector in sums_of(plan).items():
        cohort.workspaces[silo].put(ClippedSum(vector, MODEL))
    return cohort.call(add_noise_share, plan)


def opened(cohort, plan, *, step=1, config=MASKED, at_least=None):
    return aggregate_securely.fn(
        cohort,
        "private step",
        step,
        config,
        min_silos=at_least or plan.silos_at_least,
        kind=plan.kind(MODEL),
    )


def noise_in(summed, plan):
    """The sum less what went into it, in grid steps."""
    exact = sum(sums_of(plan)[silo].astype(np.float64) for silo in summed.contributors)
    return summed.total - exact / plan.grid


def lose(cohort, step, silos):
    for silo in silos:
        cohort.sabotage[silo, step] = SiloError("the silo is gone")


def complaints_about(cohort, plan):
    """What is wrong with the noise of two steps; nothing, if it is as planned."""
    noises = []
    for step in (1, 2):
        add_shares(cohort, plan)
        noises.append(noise_in(opened(cohort, plan, step=step), plan))
    scale = math.sqrt(len(SILOS)) * 2.0**plan.exponent
    return [
        *("scale" for noise in noises if not is_noise_of(noise, scale)),
        *(["repeated"] if np.allclose(noises[0], noises[1]) else []),
    ]


def test_after_unmasking_the_noise_is_that_of_all_shares(cohort):
    assert complaints_about(cohort, plan_for()) == []


def test_with_an_auditor_the_noise_is_that_of_all_shares_too(cohort):
    plan = plan_for()
    add_shares(cohort, plan)
    config = SecureAggregationConfig(mode="two-aggregators")
    noise = noise_in(opened(cohort, plan, config=config), plan)
    assert is_noise_of(noise, math.sqrt(len(SILOS)) * 2.0**plan.exponent)


def test_a_step_is_opened_once(cohort):
    plan = plan_for(size=40)
    add_shares(cohort, plan)
    opened(cohort, plan)
    add_shares(cohort, plan)
    with pytest.raises(QuorumLostError, match=r"another input .* handed over before"):
        opened(cohort, plan)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_scale_that_is_ten_percent_off_is_rejected(factor, cohort):
    plan = plan_for()
    add_shares(cohort, plan)
    noise = noise_in(opened(cohort, plan), plan)
    right = math.sqrt(len(SILOS)) * 2.0**plan.exponent
    assert is_noise_of(noise, right)
    assert not is_noise_of(noise, factor * right)


def without_a_share(step, workspace, *args):
    """One silo rounds and adds nothing."""
    if step.__name__ != "add_noise_share" or workspace.silo != "silo-3":
        return step(workspace, *args)
    clipped, plan = workspace.take(ClippedSum), args[0]
    rounded = np.rint(clipped.vector / plan.grid).astype(np.int32).view(np.uint32)
    workspace.put(Contribution(rounded, plan.kind(MODEL)))
    return None


def with_a_seed(seed_of):
    """Every silo draws its noise from a key that anybody can know."""

    def meddler(step, workspace, *args):
        if step.__name__ != "add_noise_share":
            return step(workspace, *args)
        clipped, plan = workspace.take(ClippedSum), args[0]
        key = seed_of(workspace.silo).encode().ljust(32)
        workspace.put(plan.contribution(clipped, lambda n: key))
        return None

    return meddler


@pytest.mark.parametrize(
    ("mutant", "expected"),
    [
        (honestly, set()),
        (without_a_share, {"scale"}),
        (with_a_seed(lambda silo: "the same for all"), {"scale", "repeated"}),
        (with_a_seed(lambda silo: silo), {"repeated"}),
    ],
    ids=["none", "share missing", "one seed", "a seed each"],
)
def test_the_checks_see_what_is_wrong_with_the_noise(mutant, expected, cohort):
    cohort.meddler = mutant
    assert set(complaints_about(cohort, plan_for())) == expected


def test_a_lost_silo_takes_its_share_and_the_realised_noise_says_so(cohort):
    plan = plan_for()
    add_shares(cohort, plan)
    lose(cohort, "upload_masked_input", ["silo-2"])
    summed = opened(cohort, plan)
    assert len(summed.contributors) == 5
    assert is_noise_of(noise_in(summed, plan), math.sqrt(5) * 2.0**plan.exponent)
    realised = plan.realised(len(summed.contributors))
    assert realised == pytest.approx(plan.noise_multiplier)
    assert plan.realised(6) == pytest.approx(0.8 * math.sqrt(5 / 4))


def test_the_sum_survives_as_far_as_noise_lets_it(cohort):
    plan = plan_for(size=2000)
    add_shares(cohort, plan)
    total = plan.decode(opened(cohort, plan).total)
    exact = sum(sums_of(plan).values())
    error = (total - exact) / (math.sqrt(len(SILOS)) * 2.0**plan.exponent * plan.grid)
    assert 0.9 < error.std() < 1.1


@pytest.mark.parametrize(
    "step", ["advertise_keys", "share_keys", "upload_masked_input"]
)
def test_with_too_few_silos_it_stops_before_anything_is_unmasked(step, cohort):
    """Five of six would open the sum of any other input: here six are needed."""
    plan = plan_for(size=40, silos_at_least=6)
    add_shares(cohort, plan)
    lose(cohort, step, ["silo-4"])
    with pytest.raises(QuorumLostError, match="5 of 6 silos are left and 6 are needed"):
        opened(cohort, plan)
    assert not {"confirm_survivors", "reveal_shares"} & set(cohort.steps)


@pytest.mark.parametrize("step", ["confirm_survivors", "reveal_shares"])
def test_silos_that_vanish_after_their_share_is_in_do_not_matter(step, cohort):
    plan = plan_for(silos_at_least=6)
    add_shares(cohort, plan)
    lose(cohort, step, ["silo-4"])
    summed = opened(cohort, plan)
    assert summed.contributors == SILOS
    assert is_noise_of(noise_in(summed, plan), math.sqrt(6) * 2.0**plan.exponent)


def test_a_coordinator_that_asks_for_fewer_silos_gets_no_share(cohort):
    plan = plan_for(size=40)
    add_shares(cohort, plan)
    with pytest.raises(QuorumLostError, match="protects sums of 5 silos or more"):
        opened(cohort, plan, at_least=4)
    assert "upload_masked_input" not in cohort.steps
    assert all(cohort.workspaces[silo].has(Contribution) for silo in SILOS)


def test_keys_that_were_exchanged_early_let_no_share_out_either(cohort):
    """Terms may be offered before there is a share to look at."""
    from tasks.secure_aggregation.protocol import exchange_keys, finish_sum
    from tests.simulators.secure_round import terms_for

    plan = plan_for(size=40)
    terms = terms_for(6, min_silos=4, kind=plan.kind(MODEL))
    begun = exchange_keys(cohort, terms, early_length=40)
    add_shares(cohort, plan)
    with pytest.raises(QuorumLostError, match="protects sums of 5 silos or more"):
        finish_sum(begun)
    assert all(cohort.workspaces[silo].has(Contribution) for silo in SILOS)


def test_no_share_leaves_in_the_clear_or_for_the_sum_of_a_group(cohort):
    plan = plan_for(size=40)
    add_shares(cohort, plan)
    with pytest.raises(QuorumLostError, match="share of noise, which protects nobody"):
        opened(cohort, plan, config=SecureAggregationConfig(mode="plain"))
    add_shares(cohort, plan)
    groups = SecureAggregationConfig(mode="masked", groups=2)
    with pytest.raises(QuorumLostError, match="was offered one of 3"):
        aggregate_securely.fn(
            cohort, "private step", 1, groups, min_silos=5, kind=plan.kind(MODEL),
            apart=True,
        )  # fmt: skip


def test_silos_with_another_plan_are_left_out(cohort):
    plan = plan_for(size=40)
    add_shares(cohort, plan)
    weaker = plan_for(size=40, noise_multiplier=0.1)
    odd = cohort.workspaces["silo-5"]
    odd.put(ClippedSum(np.zeros(40), MODEL))
    add_noise_share(odd, weaker)
    summed = opened(cohort, plan)
    assert summed.contributors == tuple(s for s in SILOS if s != "silo-5")
    assert "another encoding" in summed.dropped["silo-5"].sentence


def test_words_that_are_sent_hide_the_sum_of_a_silo(cohort):
    """A share alone is noise of half the planned scale: what the masks must hide."""
    plan = plan_for()
    add_shares(cohort, plan)
    words = cohort.workspaces["silo-1"].get(Contribution).words
    alone = signed(words) - sums_of(plan)["silo-1"] / plan.grid
    assert is_noise_of(alone, 2.0**plan.exponent)
    assert 2**plan.exponent * plan.grid == pytest.approx(0.8 * 0.5 / 2, rel=1e-4)

"""Parts of a sum -> one mean update, and what is said of the parts."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import QuorumLostError
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.sum_parts import SumPart
from models.fixed_point import limit_for, signed
from models.weighted_mean import Block, UpdateEncoding
from tasks.global_update.combination import combined

ENCODING = UpdateEncoding(32, 16, (Block(2, 100.0),))
LIMIT = limit_for(16)
HONEST = {"a": [1, 0], "b": [2, 0], "c": [3, 0], "d": [4, 0]}
LIAR = HONEST | {"e": [-90, 90]}


def part(silo, update, weight=0.2, loss=2.0):
    delta = np.array(update, np.float32)
    words = ENCODING.encode(delta, weight, loss, dither=np.zeros).words
    return SumPart((silo,), signed(words))


def summed(*parts):
    return SecureSum(
        total=np.sum([part.total for part in parts], axis=0),
        contributors=tuple(silo for part in parts for silo in part.silos),
        dropped={}, faults={}, mode="plain", bytes_up={}, bytes_down=0,
        commitments={}, phases=(), parts=parts,
    )  # fmt: skip


def together(updates, **settings):
    parts = [part(silo, update) for silo, update in updates.items()]
    config = SecureAggregationConfig(**{"mode": "plain"} | settings)
    return combined(summed(*parts), ENCODING, config)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [-16, 18]),
        ({"combine": "median"}, [2, 0]),
        ({"combine": "trimmed-mean"}, [2, 0]),
        ({"combine": "krum"}, [2, 0]),
        ({"norm_bound": 2.0, "beyond_norm_bound": "leave-out"}, [2.5, 0]),
        # Cut to twice the median norm of 3: -6 and 6 over the square root of 2.
        ({"norm_bound": 2.0}, [2 - 0.6 * 2**0.5, 0.6 * 2**0.5]),
    ],
)
def test_every_rule_on_four_honest_updates_and_a_lie(settings, expected):
    assert together(LIAR, **settings).update == pytest.approx(expected, abs=1e-4)


def test_whatever_happens_to_an_update_is_said_of_its_silo():
    assert together(LIAR, combine="median").remarks == {}
    assert together(LIAR, combine="krum").remarks == {
        "b": "its update was chosen by krum to stand for all"
    }
    scaled = together(LIAR, norm_bound=2.0).remarks
    assert scaled == {
        "e": "its update was scaled by 0.0471: its norm 127 is beyond 2 times the "
        "median norm"
    }
    left_out = together(LIAR, norm_bound=2.0, beyond_norm_bound="leave-out").remarks
    assert left_out["e"].startswith("its update was left out: its norm 127 is beyond")


def test_what_happens_to_a_group_is_said_of_each_of_its_silos():
    parts = [part(silo, update) for silo, update in LIAR.items()]
    parts[4] = replace(parts[4], silos=("e", "f", "g"))
    config = SecureAggregationConfig(groups=5, norm_bound=2.0)
    remarks = combined(summed(*parts), ENCODING, config).remarks
    assert list(remarks) == ["e", "f", "g"]
    assert remarks["f"].startswith("the mean of its group was scaled by 0.0471")


def test_the_plain_mean_is_the_one_of_the_whole_sum_to_the_bit():
    whole = summed(*(part(silo, update) for silo, update in LIAR.items()))
    config = SecureAggregationConfig(groups=5)
    mean, expected = combined(whole, ENCODING, config), ENCODING.decode(whole.total)
    assert np.array_equal(mean.update, expected.update)
    assert (mean.weight, mean.loss) == (expected.weight, expected.loss)


def test_the_bounded_mean_is_weighted():
    parts = part("a", [1, 0], 0.6), part("b", [2, 0], 0.3), part("c", [40, 0], 0.1)
    config = SecureAggregationConfig(mode="plain", norm_bound=2.0)
    mean = combined(summed(*parts), ENCODING, config)
    assert mean.update == pytest.approx([0.6 + 0.6 + 0.4, 0], abs=1e-4)
    assert mean.weight == pytest.approx(1.0, abs=1e-5)


def test_a_claimed_weight_or_loss_moves_no_rule_that_goes_without_weights():
    honest = [part(silo, update) for silo, update in HONEST.items()]
    heavy = part("e", [-1, 1], weight=90.0, loss=1e9)
    config = SecureAggregationConfig(mode="plain", combine="median")
    mean = combined(summed(*honest, heavy), ENCODING, config)
    assert mean.update == pytest.approx([2, 0], abs=1e-3)
    assert mean.loss == pytest.approx(2.0, abs=1e-3)
    unguarded = combined(
        summed(*honest, heavy), ENCODING, SecureAggregationConfig(mode="plain")
    )
    assert unguarded.update[0] < -0.9


@pytest.mark.parametrize("weight", [0.0, -0.5])
def test_an_update_without_weight_is_left_out(weight):
    parts = [part(silo, update) for silo, update in HONEST.items()]
    none = part("e", [-50, 0], weight=weight)
    config = SecureAggregationConfig(mode="plain", combine="median")
    mean = combined(summed(*parts, none), ENCODING, config)
    assert mean.update == pytest.approx([2.5, 0], abs=1e-4)
    assert mean.remarks == {"e": "its update was left out: its weight is not above 0"}


def test_words_that_no_encoder_makes_are_left_out():
    parts = [part(silo, update) for silo, update in HONEST.items()]
    lie = np.array([LIMIT + 1, 0, 1, 0, 0])
    config = SecureAggregationConfig(mode="plain", combine="median")
    mean = combined(summed(*parts, SumPart(("e",), lie)), ENCODING, config)
    assert mean.update == pytest.approx([2.5, 0], abs=1e-4)
    assert mean.remarks == {
        "e": "its update was left out: it is beyond secure_aggregation.clip"
    }
    edge = SumPart(("e",), lie - [1, 0, 0, 0, 0])
    assert combined(summed(*parts, edge), ENCODING, config).remarks == {}


def test_leaving_out_never_leaves_fewer_than_the_rule_needs():
    updates = {"a": [1, 0], "b": [1, 0], "c": [1, 0], "d": [30, 0], "e": [1, 0]}
    mean = together(
        updates, combine="krum", norm_bound=2.0, beyond_norm_bound="leave-out"
    )
    assert mean.remarks["d"].startswith("its update was scaled by 0.0667")


def test_too_few_updates_for_the_rule_lose_the_quorum():
    with pytest.raises(QuorumLostError, match=r"krum against 1 attackers needs 5 .* 4"):
        together(HONEST, combine="krum")

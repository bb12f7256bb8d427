"""Personal tensors: named by data, left out of what is sent, put back inside a silo."""

from itertools import pairwise

import numpy as np
import pytest

from data_contracts.errors import ConfigError
from data_contracts.settings.training import ModelConfig
from models.fixed_point import signed
from models.parameters import ParameterLayout
from models.personal_part import PersonalPart
from models.recommenders.building import ITEM_TABLE, layout_for
from models.silo_weights import ROOT_UNIT, silo_weight
from models.weighted_mean import UpdateEncoding

V = 12
NAMED = {
    "none": set(),
    "items": {"items.weight"},
    "norms": {
        f"{place}.{kind}"
        for place in (
            "blocks.0.attention_norm", "blocks.0.feed_forward_norm",
            "blocks.1.attention_norm", "blocks.1.feed_forward_norm", "out_norm",
        )
        for kind in ("weight", "bias")
    },
}  # fmt: skip
ROWS = np.arange(V) % 3 != 1


def part(personal: str) -> PersonalPart:
    config = ModelConfig(dim=8, blocks=2, personal=personal)
    return PersonalPart.of(config, layout_for(config, V))


def vector(seed: int) -> np.ndarray:
    size = part("none").layout.size
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def kept(personal: str) -> np.ndarray:
    """bool [d]: what is shared, told apart tensor by tensor."""
    one = part(personal)
    marks = one.layout.split(np.ones(one.layout.size, np.float32))
    for name in one.names:
        marks[name][...] = 0.0
    return one.layout.join(marks) > 0


@pytest.mark.parametrize("personal", NAMED)
def test_a_setting_names_tensors(personal):
    assert set(part(personal).names) == NAMED[personal]


def test_the_top_is_the_last_block_and_the_norm_behind_it():
    names = set(part("top").names)
    assert {name for name in names if not name.startswith("blocks.1.")} == {
        "out_norm.weight", "out_norm.bias",
    }  # fmt: skip
    assert len(names) == 2 + 12


@pytest.mark.parametrize("rows", [None, ROWS], ids=["all rows", "some rows"])
@pytest.mark.parametrize("personal", ["items", "norms", "top"])
def test_only_the_shared_coordinates_are_sent_and_come_back(personal, rows):
    one, whole = part(personal), vector(1)
    selection = one.selection(rows, ITEM_TABLE)
    expected = kept(personal)
    if rows is not None and personal != "items":
        marks = one.layout.split(expected.astype(np.float32))
        marks[ITEM_TABLE][~rows] = 0.0
        expected = one.layout.join(marks) > 0
    sent = selection.pick(whole)
    assert sent.tolist() == whole[expected].tolist()
    back = selection.spread(sent.astype(np.float64), len(whole))
    assert back.tolist() == np.where(expected, whole, 0.0).tolist()
    ends = np.cumsum([0, *(t.size for t in one.layout.split(whole).values())]).tolist()
    for start, stop in [*pairwise(ends), (0, len(whole))]:
        assert selection.left_out(start, stop) == int((~expected[start:stop]).sum())


def test_without_personal_tensors_nothing_changes():
    one, whole = part("none"), vector(1)
    assert one.selection(None, ITEM_TABLE) is None
    assert one.merged(whole, {"anything": whole}) is whole
    assert one.selection(ROWS, ITEM_TABLE).sha256


@pytest.mark.parametrize("ring_bits", [32, 16, 8])
@pytest.mark.parametrize("personal", ["items", "norms", "top"])
def test_a_sum_is_shorter_and_gives_no_update_to_what_is_personal(personal, ring_bits):
    one = part(personal)
    encoding = UpdateEncoding.of(
        one.layout, 3, 4.0, ring_bits=ring_bits, last_mean=vector(2).astype(float),
        admission=one.selection(None, ITEM_TABLE),
    )  # fmt: skip
    whole = UpdateEncoding.of(
        one.layout, 3, 4.0, ring_bits=ring_bits, last_mean=vector(2).astype(float)
    )
    left_out = int((~kept(personal)).sum())
    assert whole.length - encoding.length == left_out
    assert whole.fingerprint != encoding.fingerprint
    dither = np.random.default_rng(0).random
    words = encoding.encode(vector(1), 0.5, 1.0, dither=dither).words
    mean = encoding.decode(signed(words))
    assert not mean.update[~kept(personal)].any()
    assert np.abs(mean.update - vector(1))[kept(personal)].max() < 0.5


def test_a_silos_own_tensors_stand_in_for_the_global_ones():
    one, shared, own = part("items"), vector(1), vector(2)
    merged = one.merged(shared, one.tensors(own))
    assert merged.tolist() == np.where(kept("items"), shared, own).tolist()
    assert one.merged(shared, None) is shared
    assert one.without(own.copy()).tolist() == np.where(kept("items"), own, 0).tolist()


def test_a_part_that_is_nothing_or_everything_is_refused():
    items = ParameterLayout(("items.weight",), ((V, 8),))
    with pytest.raises(ConfigError, match="items names 1 of the 1 tensors"):
        PersonalPart.of(ModelConfig(personal="items"), items)
    with pytest.raises(ConfigError, match="top names 0 of the 1 tensors"):
        PersonalPart.of(ModelConfig(personal="top"), items)


def test_a_silo_with_100_times_the_examples_weighs_10_times_as_much_by_roots():
    assert silo_weight(90_000, "examples") == silo_weight(90_000, "uniform") == 90_000
    assert silo_weight(90_000, "root-examples") == 300 * ROOT_UNIT
    assert silo_weight(900, "root-examples") == 30 * ROOT_UNIT

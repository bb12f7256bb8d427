"""Updates in narrow rings and with rows left out: what is sent, what comes back."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import ConfigError
from models.digits import Digits
from models.fixed_point import RINGS, signed
from models.parameters import ParameterLayout
from models.row_admission import RowAdmission
from models.weighted_mean import RANGE_OVER_LAST_MEAN, UpdateEncoding

LAYOUT = ParameterLayout(("bias", "items", "head"), ((5,), (40, 6), (3, 7)))
D = LAYOUT.size
SILOS = 5
WEIGHTS = np.array([0.1, 0.15, 0.2, 0.25, 0.3])


def deltas(seed: int) -> np.ndarray:
    """Updates [SILOS, D] whose tensors differ in scale by a factor of 1,000."""
    scales = np.repeat([1e-3, 1e-1, 1.0], [5, 240, 21])
    drawn = np.random.default_rng(seed).normal(size=(SILOS, D)) * scales
    return drawn.astype(np.float32)


def encoding(ring_bits: int, last_seed: int = 0, **options) -> UpdateEncoding:
    return UpdateEncoding.of(
        LAYOUT,
        SILOS,
        4.0,
        ring_bits=ring_bits,
        last_mean=WEIGHTS @ deltas(last_seed),
        **options,
    )


def summed(encoding: UpdateEncoding, updates, carried=(None,) * SILOS, seed=0):
    """(decoded mean, words of each silo, errors they carry on)."""
    encoded = [
        encoding.encode(
            delta,
            float(weight),
            5.0 + silo,
            dither=np.random.default_rng([seed, silo]).random,
            carried=carried[silo],
        )
        for silo, (delta, weight) in enumerate(zip(updates, WEIGHTS, strict=True))
    ]
    total = np.zeros_like(encoded[0].words)
    for one in encoded:
        total += one.words
    mean = encoding.decode(signed(total))
    return mean, [one.words for one in encoded], [one.error for one in encoded]


@pytest.mark.parametrize(("ring_bits", "size"), [(32, 4), (16, 2), (8, 1)])
def test_a_parameter_costs_as_many_bytes_as_the_ring_is_wide(ring_bits, size):
    _, words, _ = summed(encoding(ring_bits), deltas(1))
    assert words[0].itemsize == size
    assert D < words[0].size <= D + 3 * 6


@pytest.mark.parametrize(("ring_bits", "tolerance"), [(32, 1e-7), (16, 3e-3), (8, 0.6)])
def test_the_mean_is_right_to_the_steps_of_its_tensor(ring_bits, tolerance):
    mean, _, _ = summed(encoding(ring_bits), deltas(1))
    exact = WEIGHTS @ deltas(1)
    for tensor, found in zip(
        LAYOUT.split(exact).values(), LAYOUT.split(mean.update).values(), strict=True
    ):
        scale = np.abs(tensor).max() if ring_bits < 32 else 4.0
        assert np.abs(found - tensor).max() < tolerance * scale


@pytest.mark.parametrize("ring_bits", RINGS)
def test_weight_loss_and_clipping_stay_exact_in_every_ring(ring_bits):
    mean, _, _ = summed(encoding(ring_bits), deltas(1))
    assert mean.weight == pytest.approx(1.0, abs=1e-6)
    assert mean.loss == pytest.approx(WEIGHTS @ (5.0 + np.arange(SILOS)), abs=1e-4)


def test_what_rounding_took_comes_back_in_later_rounds():
    """The same small update over and over: its sum is right, no step is lost."""
    same = 0.02 * deltas(1)
    carried, total = [None] * SILOS, np.zeros(D)
    for round_number in range(200):
        mean, _, carried = summed(encoding(8), same, carried, seed=round_number)
        total += mean.update
    exact = 200 * (WEIGHTS @ same)
    steps = np.concatenate([np.full(b.size, b.clip / 25) for b in encoding(8).blocks])
    # At most one step of each silo is still on its way.
    assert (np.abs(total - exact) <= SILOS * steps + 1e-6).all()


def test_a_silo_that_carries_nothing_on_drifts_away():
    """The same without the errors: the random walk leaves that band."""
    same = 0.02 * deltas(1)
    total = np.zeros(D)
    for round_number in range(200):
        total += summed(encoding(8), same, seed=round_number)[0].update
    steps = np.concatenate([np.full(b.size, b.clip / 25) for b in encoding(8).blocks])
    assert (np.abs(total - 200 * (WEIGHTS @ same)) > SILOS * steps + 1e-6).any()


def test_a_coordinate_beyond_its_range_is_clipped_counted_and_made_good():
    wild = deltas(1)
    wild[0, :5] = 50.0
    mean, _, carried = summed(encoding(16), wild)
    assert mean.clipped == 5
    rest, _, _ = summed(encoding(16), 0 * wild, carried)
    bound = RANGE_OVER_LAST_MEAN * np.abs((WEIGHTS @ deltas(0))[:5]).max()
    assert mean.update[:5].max() < 2 * bound
    assert rest.update[:5].max() > bound / 2


def test_ranges_follow_each_tensor_of_the_last_mean_but_never_pass_the_clip():
    blocks = encoding(16).blocks
    tops = [np.abs(t).max() for t in LAYOUT.split(WEIGHTS @ deltas(0)).values()]
    assert [b.clip for b in blocks] == pytest.approx(
        [RANGE_OVER_LAST_MEAN * top for top in tops]
    )
    huge = UpdateEncoding.of(
        LAYOUT, SILOS, 4.0, ring_bits=16, last_mean=np.full(D, 1e6)
    )
    assert {block.clip for block in huge.blocks} == {4.0}


@pytest.mark.parametrize("last_mean", [None, np.zeros(D)])
def test_without_a_last_mean_the_wide_ring_is_taken(last_mean):
    first = UpdateEncoding.of(LAYOUT, SILOS, 4.0, ring_bits=8, last_mean=last_mean)
    assert first.ring_bits == 32


def test_more_silos_than_the_ring_can_hold_are_refused():
    many = replace(encoding(8), num_silos=128)
    with pytest.raises(ConfigError, match="128 must lie between 1 and 127"):
        many.encode(deltas(1)[0], 0.1, 5.0, dither=np.zeros)


@pytest.mark.parametrize("ring_bits", RINGS)
def test_an_update_of_another_model_is_refused(ring_bits):
    for delta in (deltas(1)[0][1:], np.append(deltas(1)[0], np.float32(0))):
        with pytest.raises(ValueError, match=rf"expected \[{D}\], got"):
            encoding(ring_bits).encode(delta, 0.1, 5.0, dither=np.zeros)


@pytest.mark.parametrize("ring_bits", RINGS)
def test_an_empty_tensor_and_one_that_never_moves_are_encoded(ring_bits):
    layout = ParameterLayout(("none", "still", "moving"), ((0, 4), (3,), (5,)))
    last = np.array([0, 0, 0, 1, 2, 3, 4, 5], np.float64)
    found = UpdateEncoding.of(layout, 2, 9.0, ring_bits=ring_bits, last_mean=last)
    delta = last.astype(np.float32)
    words = found.encode(delta, 0.5, 1.0, dither=lambda k: np.full(k, 0.5)).words
    assert words.size == found.length
    mean = found.decode(signed(words))
    assert mean.update == pytest.approx(last, abs=0.5 if ring_bits == 8 else 1e-2)


ROWS = np.arange(40) % 3 > 0


@pytest.fixture
def admission():
    return RowAdmission.of(ROWS, LAYOUT, "items")


@pytest.mark.parametrize("ring_bits", RINGS)
def test_rows_left_out_are_not_sent_and_do_not_move(ring_bits, admission):
    mean, words, _ = summed(encoding(ring_bits, admission=admission), deltas(1))
    everything, whole, _ = summed(encoding(ring_bits), deltas(1))
    assert words[0].size == whole[0].size - 6 * (~ROWS).sum()
    found = LAYOUT.split(mean.update)
    assert not found["items"][~ROWS].any()
    tolerance = {32: 1e-7, 16: 2e-3, 8: 0.5}[ring_bits]
    for name, other in LAYOUT.split(everything.update).items():
        kept = ROWS if name == "items" else slice(None)
        assert np.abs(found[name][kept] - other[kept]).max() <= tolerance


def test_no_word_that_is_sent_depends_on_a_row_left_out(admission):
    same, other = deltas(1), deltas(1)
    LAYOUT.split(other[0])["items"][~ROWS] += 7.0
    one, two = (
        encoding(16, admission=admission).encode(
            updates[0], 0.5, 5.0, dither=np.random.default_rng(0).random
        )
        for updates in (same, other)
    )
    assert one.words.tobytes() == two.words.tobytes()
    assert one.error.tobytes() == two.error.tobytes()


def test_everything_that_gives_words_their_meaning_is_in_the_fingerprint(admission):
    base = encoding(16, admission=admission)
    fewer = replace(admission, rows=ROWS & (np.arange(40) > 3))
    prints = {
        base.fingerprint,
        encoding(16).fingerprint,
        encoding(8, admission=admission).fingerprint,
        encoding(16, last_seed=1, admission=admission).fingerprint,
        replace(base, num_silos=4).fingerprint,
        replace(base, admission=fewer).fingerprint,
    }
    assert len(prints) == 6
    assert base.fingerprint == encoding(16, admission=admission).fingerprint


@pytest.mark.parametrize("ring_bits", RINGS)
@pytest.mark.parametrize("num_silos", [1, 2, 5, 100, 127])
def test_digits_of_all_silos_add_up(ring_bits, num_silos):
    digits = Digits(num_silos, ring_bits)
    numbers = np.random.default_rng(0).random(num_silos)
    total = np.zeros(digits.count, dtype=f"u{ring_bits // 8}")
    for number in numbers:
        total += digits.encode(number)
    assert digits.decode(signed(total)) == pytest.approx(numbers.sum(), abs=1e-5)
    full = np.zeros_like(total)
    for _ in range(num_silos):
        full += digits.encode(1.0)
    assert digits.decode(signed(full)) == num_silos


VARIATE_RANGE = 0.5


def with_variates(seed: int) -> np.ndarray:
    """Updates [SILOS, 2 D] with gradients behind them, as long as they may be."""
    gradients = np.random.default_rng([seed, 1]).normal(size=(SILOS, D))
    gradients *= VARIATE_RANGE / np.linalg.norm(gradients, axis=1, keepdims=True)
    gradients[0], gradients[0, 0] = 0.0, -VARIATE_RANGE
    return np.concatenate([deltas(seed), gradients], axis=1).astype(np.float32)


def variate_encoding() -> UpdateEncoding:
    return UpdateEncoding.of(LAYOUT, SILOS, 4.0, variate_range=VARIATE_RANGE)


def test_control_variates_come_back_beside_the_update_each_to_its_own_steps():
    """The error of a sum of n is at most n half steps, range * n / 2^31 each."""
    sent = with_variates(1)
    mean, words, errors = summed(variate_encoding(), sent)
    exact = WEIGHTS @ sent.astype(np.float64)
    assert words[0].size == 2 * D + 3
    assert errors == [None] * SILOS
    step = SILOS / (2**31 - 1)
    for found, told, largest in (
        (mean.update, exact[:D], 4.0),
        (mean.variate, exact[D:], VARIATE_RANGE),
    ):
        assert found.shape == (D,)
        bound = SILOS / 2 * largest * step
        assert bound / 100 < np.abs(found - told).max() <= 1.1 * bound
    assert mean.clipped == 0
    assert mean.norm == pytest.approx(np.linalg.norm(exact[:D]), rel=1e-6)


def test_a_mean_gradient_as_long_as_it_may_be_is_not_clipped_by_any_weight():
    sent = with_variates(2)[0]
    point = variate_encoding()
    words = point.encode(sent, 1.0, 0.0, dither=np.zeros).words
    assert point.decode(signed(words)).variate[0] == pytest.approx(-VARIATE_RANGE)
    assert point.decode(signed(words)).clipped == 0


def test_without_control_variates_the_encoding_is_what_it_was():
    plain = UpdateEncoding.of(LAYOUT, SILOS, 4.0)
    assert plain.fingerprint == (
        "dfe3837d5ad577dfa57371374e2475888ea47ca0342eaee5ce6d0cb841714186"
    )
    assert variate_encoding().fingerprint != plain.fingerprint
    mean, _, _ = summed(plain, deltas(1))
    assert mean.variate is None

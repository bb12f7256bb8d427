"""Whatever the inputs and whoever vanishes: the integer sum, or a refusal."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import QuorumLostError
from models.fixed_point import FixedPoint, encode_counts
from tasks.secure_aggregation.masking import Mask, apply_masks
from tasks.secure_aggregation.shamir import combine, split
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.secure_round import SecureRound, terms_for

MESSAGES = [
    "KeyAdvertisement",
    "SealedShares",
    "MaskedInput",
    "Confirmation",
    "RevealedShares",
]


@st.composite
def federations(draw):
    """(rows of integers, who vanishes before which message)."""
    num_silos = draw(st.integers(2, 7))
    length = draw(st.integers(0, 9))
    largest = (2**31 - 1) // num_silos
    row = st.lists(st.integers(-largest, largest), min_size=length, max_size=length)
    rows = draw(st.lists(row, min_size=num_silos, max_size=num_silos))
    gone = draw(
        st.dictionaries(
            st.integers(1, num_silos), st.sampled_from(MESSAGES), max_size=3
        )
    )
    return rows, gone


@settings(max_examples=40, deadline=None)
@given(federations())
def test_the_sum_is_pythons_own_or_the_quorum_is_lost(federation):
    rows, gone = federation
    terms = terms_for(len(rows))
    inputs = {
        f"silo-{i}": encode_counts(np.array(row, dtype=np.int64), len(rows))
        for i, row in enumerate(rows, 1)
    }
    round_ = SecureRound(terms, inputs)
    round_.gone = {(f"silo-{i}", message) for i, message in gone.items()}
    absent = {i for i, message in gone.items() if message in MESSAGES[:3]}
    summed = [row for i, row in enumerate(rows, 1) if i not in absent]
    try:
        total = round_.run().tolist()
    except QuorumLostError:
        assert len(rows) - len(gone) < terms.threshold
        return
    assert len(rows) - len(gone) >= terms.threshold
    assert total == [sum(column) for column in zip(*summed, strict=True)]


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 2**40),
    length=st.integers(0, 300),
    cut=st.integers(0, 300),
    seed=st.integers(0, 99),
)
def test_masking_two_ranges_is_masking_the_whole(start, length, cut, seed):
    masks = [Mask(deterministic_bytes(f"{seed}/{i}")(32), bool(i)) for i in (0, 1)]
    whole, parts = np.zeros((2, length), dtype=np.uint32)
    cut = min(cut, length)
    apply_masks(whole, masks, start=start)
    apply_masks(parts[:cut], masks, start=start)
    apply_masks(parts[cut:], masks, start=start + cut)
    assert whole.tolist() == parts.tolist()


@settings(max_examples=60, deadline=None)
@given(secret=st.binary(min_size=32, max_size=32), data=st.data())
def test_any_t_shares_give_any_secret_back(secret, data):
    seats = data.draw(
        st.lists(st.integers(1, 1000), min_size=1, max_size=8, unique=True)
    )
    threshold = data.draw(st.integers(1, len(seats)))
    shares = dict(
        zip(
            seats,
            split(secret, threshold, seats, deterministic_bytes("any")),
            strict=True,
        )
    )
    chosen = data.draw(st.permutations(seats))[:threshold]
    assert combine({seat: shares[seat] for seat in chosen}) == secret


@settings(max_examples=60, deadline=None)
@given(
    num_silos=st.integers(1, 200),
    clip=st.floats(1e-6, 1e6),
    values=st.lists(st.floats(-1, 1), min_size=1, max_size=20),
)
def test_fixed_point_is_right_to_half_a_step(num_silos, clip, values):
    point = FixedPoint.of(clip, num_silos)
    x = np.array(values) * clip
    words, clipped = point.encode(x)
    error = np.abs(point.decode(words.view(np.int32)) - x)
    assert clipped == 0
    assert error.max() <= point.resolution * 0.5 + clip * 1e-15

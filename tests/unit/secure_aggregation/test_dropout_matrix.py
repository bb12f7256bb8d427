"""Every set of silos, gone before every phase: the exact sum, or a named refusal."""

from itertools import chain, combinations

import pytest

from data_contracts.errors import QuorumLostError
from tests.simulators.secure_round import (
    SecureRound,
    integer_sum,
    random_inputs,
    terms_for,
)

MESSAGES = {
    "KeyAdvertisement": "advertise keys",
    "SealedShares": "share keys",
    "MaskedInput": "masked input",
    "Confirmation": "confirm survivors",
    "RevealedShares": "unmasking",
}
UPLOADED = {"Confirmation", "RevealedShares"}


def subsets(silos: list[str]) -> list[tuple[str, ...]]:
    sizes = range(len(silos) + 1)
    return list(chain.from_iterable(combinations(silos, size) for size in sizes))


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("num_silos", [3, 4, 5, 6])
def test_whoever_is_gone_the_sum_is_exact_or_not_opened(num_silos, message):
    inputs = random_inputs(num_silos, 5)
    for gone in subsets(list(inputs)):
        round_ = SecureRound(terms_for(num_silos), inputs)
        round_.gone = {(silo, message) for silo in gone}
        left = num_silos - len(gone)
        if left < round_.terms.threshold:
            with pytest.raises(
                QuorumLostError, match=f"at {MESSAGES[message]}: {left}"
            ):
                round_.run()
            continue
        summed = {
            s: w for s, w in inputs.items() if message in UPLOADED or s not in gone
        }
        assert round_.run().tolist() == integer_sum(summed)
        assert set(round_.server.failures) == set(gone)

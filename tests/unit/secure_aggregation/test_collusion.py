"""Silos that help the coordinator: below the bound they learn nothing, at it all.

That the attacks succeed at the bound shows that they are the real ones.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import ConfirmedList, SurvivorList, threshold_for
from tasks.secure_aggregation.context import dealers_hash
from tasks.secure_aggregation.keys import agree, pair_key, self_key
from tasks.secure_aggregation.masking import Mask, apply_masks, pairwise
from tasks.secure_aggregation.shamir import combine
from tests.simulators.secure_round import (
    SecureRound,
    identity_of,
    random_inputs,
    terms_for,
)

WORDS = 2000


@dataclass
class Stolen:
    """Shares of a victim's two secrets; seat -> share."""

    seeds: dict[int, bytes]
    keys: dict[int, bytes]


def uploaded(num_silos: int) -> tuple[SecureRound, SurvivorList]:
    round_ = SecureRound(terms_for(num_silos), random_inputs(num_silos, WORDS))
    return round_, round_.upload(round_.share(round_.advertise()))


def in_keeping_of(round_: SecureRound, thieves: list[str], victim: str) -> Stolen:
    """What thieves hold of the victim's secrets, before anything is revealed."""
    held = {round_.terms.seat(s): round_.clients[s]._state.shares for s in thieves}
    return Stolen(
        {seat: shares[victim].seed for seat, shares in held.items()},
        {seat: shares[victim].key for seat, shares in held.items()},
    )


def unmasked(round_: SecureRound, victim: str, stolen: Stolen) -> np.ndarray | None:
    """The victim's input, as far as these shares rebuild its secrets."""
    seed, private = combine(stolen.seeds), combine(stolen.keys)
    if seed is None or private is None:
        return None
    server, seat = round_.server, round_.terms.seat
    context = server._roster.context
    u2 = dealers_hash(context, server._dealers)
    masks = [Mask(self_key(seed, context, seat(victim)), subtract=False)]
    for peer in server._roster.keys:
        if peer.silo != victim:
            secret = agree(private, peer.mask_key)
            key = pair_key(secret, context, u2, seat(victim), seat(peer.silo))
            masks.append(pairwise(key, seat(victim), seat(peer.silo)))
    words = round_.uploads[victim].copy()
    apply_masks(words, [mask.opposite() for mask in masks])
    return words


@pytest.mark.parametrize("num_silos", [4, 5, 7, 10])
def test_t_silos_can_open_an_input_and_t_minus_one_cannot(num_silos):
    round_, _ = uploaded(num_silos)
    victim, *others = reversed(round_.inputs)
    threshold = threshold_for(num_silos)
    enough = in_keeping_of(round_, others[:threshold], victim)
    assert np.array_equal(unmasked(round_, victim, enough), round_.inputs[victim])
    too_few = in_keeping_of(round_, others[: threshold - 1], victim)
    guess = unmasked(round_, victim, too_few)
    assert guess is None or np.mean(guess == round_.inputs[victim]) < 0.01


def show_two_lists(
    round_: SecureRound, survivors: SurvivorList, thieves: list[str], victim: str
) -> Stolen:
    """A coordinator shows the victim one list and other honest silos another.

    Thieves sign both lists and hand over all they hold.

    Raises:
        ProtocolError: an honest silo asks for more signatures than there are.
    """
    without = SurvivorList(
        survivors.context, tuple(u for u in survivors.uploads if u[0] != victim)
    )
    honest = [s for s in round_.inputs if s not in (*thieves, victim)]
    enough = max(0, threshold_for(len(round_.inputs)) - len(thieves) - 1)
    with_victim, others = [victim, *honest[:enough]], honest[enough:]
    stolen = in_keeping_of(round_, thieves, victim)
    for view, group in ((survivors, with_victim), (without, others)):
        signed = [
            (s, round_.clients[s].confirm_survivors(view).signature) for s in group
        ] + [(s, identity_of(s).sign_survivors(view)) for s in thieves]
        confirmed = ConfirmedList(view.context, tuple(signed))
        for silo in group:
            shown = round_.clients[silo].reveal_shares(confirmed)
            seat = round_.terms.seat(silo)
            if victim in dict(shown.seed_shares):
                stolen.seeds[seat] = dict(shown.seed_shares)[victim]
            else:
                stolen.keys[seat] = dict(shown.key_shares)[victim]
    return stolen


@pytest.mark.parametrize("num_silos", [4, 5, 7, 10])
def test_two_lists_open_an_input_from_2t_minus_n_thieves_on(num_silos):
    bound = 2 * threshold_for(num_silos) - num_silos
    round_, survivors = uploaded(num_silos)
    victim = f"silo-{num_silos}"
    stolen = show_two_lists(round_, survivors, list(round_.inputs)[:bound], victim)
    assert np.array_equal(unmasked(round_, victim, stolen), round_.inputs[victim])

    round_, survivors = uploaded(num_silos)
    with pytest.raises(ProtocolError, match="silos confirmed the list of survivors"):
        show_two_lists(round_, survivors, list(round_.inputs)[: bound - 1], victim)


def view_of_one_silo(update: int, attempt: int) -> np.ndarray:
    """What the coordinator sees of silo-1, whose update is constant."""
    inputs = random_inputs(3, WORDS) | {"silo-1": np.full(WORDS, update, np.uint32)}
    round_ = SecureRound(terms_for(3, attempt=attempt), inputs, seed=f"{attempt}")
    round_.upload(round_.share(round_.advertise()))
    return round_.uploads["silo-1"]


def kolmogorov_smirnov(one: np.ndarray, other: np.ndarray) -> float:
    """Largest distance of the two empirical distributions, scaled to its spread."""
    both = np.sort(np.concatenate([one, other]))
    ranks = [np.searchsorted(np.sort(x), both, "right") / len(x) for x in (one, other)]
    return float(np.abs(ranks[0] - ranks[1]).max() * np.sqrt(len(one) / 2))


# P(statistic > 2.2) = 2 exp(-2 * 2.2 ** 2) = 0.00013 for samples of one distribution.
SMIRNOV_BOUND = 2.2


def test_two_very_different_updates_look_the_same_to_the_coordinator():
    small, large = view_of_one_silo(0, 1), view_of_one_silo(2**30, 2)
    assert kolmogorov_smirnov(small, large) < SMIRNOV_BOUND


def test_the_comparison_sees_masks_that_are_too_narrow(monkeypatch):
    def narrow(words, masks, *, start=0, threads=1):
        noise = np.zeros_like(words)
        apply_masks(noise, masks, start=start)
        words += noise >> np.uint32(4)

    monkeypatch.setattr("tasks.secure_aggregation.client.apply_masks", narrow)
    small, large = view_of_one_silo(0, 1), view_of_one_silo(2**30, 2)
    assert kolmogorov_smirnov(small, large) > 2 * SMIRNOV_BOUND

"""What the coordinator refuses, whom it blames, and that the sum stays exact."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import ProtocolError, QuorumLostError
from data_contracts.secure_aggregation import KeyAdvertisement, SurvivorList
from tasks.secure_aggregation import client as client_module
from tasks.secure_aggregation.server import Server
from tasks.secure_aggregation.shamir import split
from tests.simulators.secure_round import (
    SecureRound,
    identity_of,
    integer_sum,
    random_inputs,
    stranger_keys,
    terms_for,
)

BAD = "silo-2"


@pytest.fixture
def round_():
    return SecureRound(terms_for(5), random_inputs(5, 20))


def flip_word(message):
    words = message.words.copy()
    words[7] ^= 1
    return replace(message, words=words)


def flip_first_share(name):
    def change(message):
        (dealer, share), *rest = getattr(message, name)
        wrong = share[:-1] + bytes([share[-1] ^ 1])
        return replace(message, **{name: ((dealer, wrong), *rest)})

    return change


BAD_UPLOADS = {
    "a flipped word": (flip_word, "words changed on their way"),
    "a missing word": (
        lambda m: replace(m, words=m.words[:-1].copy()),
        "19 words of 32 bits instead of 20",
    ),
    "words of another type": (
        lambda m: replace(m, words=m.words.astype(np.int64)),
        "flat, contiguous vector",
    ),
    "another context": (
        lambda m: replace(m, context=b"x" * 32),
        "belongs to another aggregation",
    ),
    "another sender": (lambda m: replace(m, silo="silo-3"), "names silo-3 as sender"),
}


@pytest.mark.parametrize("case", BAD_UPLOADS)
def test_an_upload_is_left_out_and_the_sum_of_the_others_is_exact(case, round_):
    change, says = BAD_UPLOADS[case]
    round_.tamper[BAD, "MaskedInput"] = change
    total = round_.run()
    others = {s: w for s, w in round_.inputs.items() if s != BAD}
    assert total.tolist() == integer_sum(others)
    assert says in round_.server.failures[BAD].sentence


BAD_CONFIRMATIONS = {
    "another list": lambda m: replace(
        m,
        signature=identity_of(BAD).sign_survivors(SurvivorList(m.context, ())),
    ),
    "somebody else's name under it": lambda m: replace(
        m, signature=identity_of("silo-1").sign_survivors(SurvivorList(m.context, ()))
    ),
    "a signature of zeros": lambda m: replace(m, signature=bytes(64)),
    "a short signature": lambda m: replace(m, signature=b"s"),
}


@pytest.mark.parametrize("case", BAD_CONFIRMATIONS)
def test_a_bad_confirmation_is_refused_and_the_sum_is_still_exact(case):
    round_ = SecureRound(terms_for(7), random_inputs(7, 20))
    round_.tamper[BAD, "Confirmation"] = BAD_CONFIRMATIONS[case]
    assert round_.run().tolist() == integer_sum(round_.inputs)
    assert "signature" in round_.server.failures[BAD].sentence


def test_a_confirmation_under_another_name_is_refused(round_):
    survivors = round_.upload(round_.share(round_.advertise()))
    signed = round_.clients["silo-1"].confirm_survivors(survivors)
    with pytest.raises(ProtocolError, match="signature is not on the list"):
        round_.server.receive(BAD, replace(signed, silo=BAD))


def test_who_did_not_confirm_is_not_believed_later(round_):
    round_.gone = {(BAD, "Confirmation")}
    confirmed = round_.confirm(round_.upload(round_.share(round_.advertise())))
    message = round_.clients[BAD].reveal_shares(confirmed)
    with pytest.raises(ProtocolError, match="confirmed no survivors"):
        round_.server.receive(BAD, message)
    assert round_.reveal(confirmed).tolist() == integer_sum(round_.inputs)


BAD_REVEALS = {
    "a wrong seed share": (flip_first_share("seed_shares"), "wrong share of silo-1"),
    "a wrong key share": (flip_first_share("key_shares"), "wrong share of silo-5"),
    "a share missing": (
        lambda m: replace(m, seed_shares=m.seed_shares[1:]),
        "other shares than were asked for",
    ),
    "both secrets of one silo": (
        lambda m: replace(m, key_shares=(*m.key_shares, m.seed_shares[0])),
        "other shares than were asked for",
    ),
    "a share of wrong size": (
        lambda m: replace(m, key_shares=(("silo-5", b"short"),)),
        "share has 5 bytes, must be 33",
    ),
}


@pytest.mark.parametrize("case", BAD_REVEALS)
def test_a_lying_revealer_is_blamed_and_the_sum_is_still_exact(case):
    # n = 7, t = 5: one vanishes, one lies, five are left to open the sum.
    change, says = BAD_REVEALS[case]
    round_ = SecureRound(terms_for(7), random_inputs(7, 20))
    round_.gone = {("silo-5", "MaskedInput")}
    round_.tamper[BAD, "RevealedShares"] = change
    total = round_.run()
    summed = {s: w for s, w in round_.inputs.items() if s != "silo-5"}
    assert total.tolist() == integer_sum(summed)
    assert says in round_.server.failures[BAD].sentence


def test_too_many_liars_cost_the_sum_and_are_all_named(round_):
    for silo in ("silo-1", "silo-2"):
        round_.tamper[silo, "RevealedShares"] = flip_first_share("seed_shares")
    with pytest.raises(QuorumLostError, match=r"3 of 5.*silo-1 \(.*silo-2 \("):
        round_.run()


@pytest.mark.parametrize("secret", ["seed", "mask key"])
def test_a_dealer_whose_shares_rebuild_nothing_is_named(secret, round_, monkeypatch):
    dealt = []

    def faulty(value, threshold, seats, random_bytes):
        dealt.append(value)
        wrong = len(dealt) == (3 if secret == "seed" else 4)  # second dealer: silo-2
        return split(b"w" * 32 if wrong else value, threshold, seats, random_bytes)

    monkeypatch.setattr(client_module, "split", faulty)
    if secret == "mask key":
        round_.gone = {(BAD, "MaskedInput")}
    with pytest.raises(ProtocolError, match=f"silo {BAD} dealt shares that do not re"):
        round_.run()


BAD_BUNDLES = {
    "another context": lambda m: replace(m, context=b"x" * 32),
    "a box missing": lambda m: replace(m, boxes=m.boxes[1:]),
    "boxes out of order": lambda m: replace(m, boxes=m.boxes[::-1]),
    "boxes of another dealer": lambda m: replace(
        m, boxes=tuple(replace(b, dealer="silo-3") for b in m.boxes)
    ),
    "a short seed hash": lambda m: replace(m, seed_hash=b""),
}


@pytest.mark.parametrize("case", BAD_BUNDLES)
def test_a_bad_dealer_is_left_out_before_anything_is_masked(case, round_):
    round_.tamper[BAD, "SealedShares"] = BAD_BUNDLES[case]
    total = round_.run()
    others = {s: w for s, w in round_.inputs.items() if s != BAD}
    assert total.tolist() == integer_sum(others)
    assert BAD in round_.server.failures


BAD_KEYS = {
    "a stolen key": (
        lambda m: replace(m, mask_key=STOLEN["silo-1"].mask_key),
        "its keys are not its own",
    ),
    "one key twice": (
        lambda m: replace(m, mask_key=m.channel_key),
        "its keys are not its own",
    ),
    "a short key": (lambda m: replace(m, mask_key=b"m"), "mask_key has 1 bytes"),
    "a negative length": (lambda m: replace(m, length=-1), "length must be 0 to"),
}
STOLEN: dict[str, KeyAdvertisement] = {}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_bad_keys_are_left_out(case, round_):
    def remember(message):
        STOLEN["silo-1"] = message
        return message

    change, says = BAD_KEYS[case]
    round_.tamper = {
        ("silo-1", "KeyAdvertisement"): remember,
        (BAD, "KeyAdvertisement"): change,
    }
    assert BAD not in round_.advertise().silos
    assert says in round_.server.failures[BAD].sentence


def test_a_second_message_of_a_silo_is_refused_and_the_first_counts(round_):
    deliveries = round_.share(round_.advertise())
    words = round_.inputs["silo-1"].copy()
    message = round_.clients["silo-1"].mask_input(deliveries.pop("silo-1"), words)
    round_.server.receive("silo-1", message)
    with pytest.raises(ProtocolError, match="input is here already"):
        round_.server.receive("silo-1", message)
    total = round_.reveal(round_.confirm(round_.upload(deliveries)))
    assert total.tolist() == integer_sum(round_.inputs)


def test_an_upload_after_the_survivors_are_listed_is_refused(round_):
    deliveries = round_.share(round_.advertise())
    late = deliveries.pop(BAD)
    survivors = round_.upload(deliveries)
    message = round_.clients[BAD].mask_input(late, round_.inputs[BAD].copy())
    with pytest.raises(ProtocolError, match="state collecting confirmations"):
        round_.server.receive(BAD, message)
    others = {s: w for s, w in round_.inputs.items() if s != BAD}
    total = round_.reveal(round_.confirm(survivors))
    assert total.tolist() == integer_sum(others)


def test_messages_of_silos_that_left_earlier_are_refused(round_):
    round_.gone = {(BAD, "SealedShares")}
    deliveries = round_.share(round_.advertise())
    other = round_.clients["silo-1"].mask_input(
        deliveries["silo-1"], round_.inputs["silo-1"].copy()
    )
    with pytest.raises(ProtocolError, match="it has dealt no shares"):
        round_.server.receive(BAD, replace(other, silo=BAD))


def test_a_stranger_is_refused():
    server = Server(terms_for(3))
    with pytest.raises(ProtocolError, match="silo eve: it is no member"):
        server.receive("eve", stranger_keys("eve"))


def test_nothing_can_be_opened_before_its_time(round_):
    with pytest.raises(ProtocolError, match="cannot end collecting revealed shares"):
        round_.server.unmask()
    round_.share(round_.advertise())
    with pytest.raises(ProtocolError, match="in state collecting masked inputs"):
        round_.server.unmask()


def test_a_round_that_failed_or_finished_answers_nothing_any_more(round_):
    round_.run()
    with pytest.raises(ProtocolError, match="state finished"):
        round_.server.unmask()
    lost = Server(terms_for(3))
    with pytest.raises(QuorumLostError):
        lost.close_advertising()
    with pytest.raises(ProtocolError, match="state failed"):
        lost.receive("silo-1", stranger_keys("silo-1"))


def test_masks_of_one_round_are_worth_nothing_in_another(round_):
    """A delivery recorded in one attempt does not open in the next."""
    old = round_.share(round_.advertise())
    new = SecureRound(terms_for(5, attempt=2), round_.inputs, seed="second")
    new.share(new.advertise())
    with pytest.raises(ProtocolError, match="another context"):
        new.clients[BAD].mask_input(old[BAD], round_.inputs[BAD].copy())

"""What an honest silo refuses, and that it forgets its secrets when it does."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    ConfirmedList,
    KeyAdvertisement,
    SealedBox,
    SurvivorList,
)
from tasks.secure_aggregation.boxes import SealedChannel, Shares
from tasks.secure_aggregation.client import Client
from tasks.secure_aggregation.keys import public_key
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.secure_round import (
    SecureRound,
    identity_of,
    random_inputs,
    stranger_keys,
    terms_for,
)

ME = "silo-2"


@pytest.fixture
def round_():
    return SecureRound(terms_for(5), random_inputs(5, 20))


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def with_key(roster, silo, **changes):
    keys = tuple(replace(k, **changes) if k.silo == silo else k for k in roster.keys)
    return replace(roster, keys=keys)


def with_box(delivery, dealer, changes):
    boxes = tuple(
        replace(b, **changes(b)) if b.dealer == dealer else b for b in delivery.boxes
    )
    return replace(delivery, boxes=boxes)


BAD_TERMS = {
    "a low threshold": ({"threshold": 2}, "threshold 2 for 5 members, must be 4"),
    "another version": ({"version": 2}, "protocol version 2"),
    "a silo listed twice": ({"members": (ME,) * 5}, "listed twice"),
    "a sum of one silo": ({"members": (ME,), "threshold": 1}, "1 members"),
    "a list without me": (
        {"members": ("a", "b", "c", "d", "e")},
        "do not name this silo",
    ),
    "no minimum": ({"min_silos": 0}, "min_silos 0"),
    "an unreachable minimum": ({"min_silos": 6}, "min_silos 6, must be 1 to 5"),
}


@pytest.mark.parametrize("case", BAD_TERMS)
def test_terms_are_refused_with(case):
    changes, says = BAD_TERMS[case]
    client = Client(ME, deterministic_bytes("me"), identity_of(ME))
    with pytest.raises(ProtocolError, match=says):
        client.advertise_keys(terms_for(5, **changes), 20)
    assert client.state == "Aborted"


def low_order_key_of_silo_1(roster):
    """Signed, so that it comes as far as the key agreement."""
    mask = next(k.mask_key for k in roster.keys if k.silo == "silo-1")
    signature = identity_of("silo-1").sign_keys(
        roster.context, "silo-1", bytes(32), mask
    )
    return with_key(roster, "silo-1", channel_key=bytes(32), signature=signature)


BAD_ROSTERS = {
    "another context": (lambda r: replace(r, context=b"x" * 32), "other terms"),
    "another length": (lambda r: replace(r, length=21), "another vector length"),
    "my keys left out": (
        lambda r: replace(r, keys=tuple(k for k in r.keys if k.silo != ME)),
        "does not hold our own keys",
    ),
    "my mask key exchanged": (
        lambda r: with_key(r, ME, mask_key=public_key(b"m" * 32)),
        "does not hold our own keys",
    ),
    "two equal keys": (
        lambda r: with_key(r, "silo-1", mask_key=r.keys[2].mask_key),
        "holds a key twice",
    ),
    "a stranger": (
        lambda r: replace(r, keys=(*r.keys, stranger_keys("eve"))),
        "an unknown silo",
    ),
    "too few silos": (lambda r: replace(r, keys=r.keys[:3]), "3 silos are left"),
    "a key of wrong size": (
        lambda r: with_key(r, "silo-1", channel_key=b"short"),
        "channel_key has 5 bytes, must be 32",
    ),
    "a low-order channel key": (
        lambda r: low_order_key_of_silo_1(r),
        "low-order",
    ),
    "another silo's key exchanged": (
        lambda r: with_key(r, "silo-1", mask_key=public_key(b"m" * 32)),
        "the keys of silo-1 are not signed by it",
    ),
}


@pytest.mark.parametrize("case", BAD_ROSTERS)
def test_a_roster_is_refused_with(case, round_):
    change, says = BAD_ROSTERS[case]
    roster = change(round_.advertise())
    with pytest.raises(ProtocolError, match=says):
        round_.clients[ME].share_keys(roster)
    assert round_.clients[ME].state == "Aborted"


def other_box(delivery):
    """The box of silo-1 for me, relabelled as silo-3's."""
    box = next(b for b in delivery.boxes if b.dealer == "silo-1")
    return with_box(
        delivery,
        "silo-3",
        lambda b: {"nonce": box.nonce, "ciphertext": box.ciphertext},
    )


BAD_DELIVERIES = {
    "another context": (lambda d: replace(d, context=b"x" * 32), "another context"),
    "a changed ciphertext": (
        lambda d: with_box(
            d, "silo-4", lambda b: {"ciphertext": flipped(b.ciphertext)}
        ),
        r"does not open.*dealer: silo-4",
    ),
    "a changed commitment": (
        lambda d: with_box(
            d, "silo-4", lambda b: {"key_commitment": flipped(b.key_commitment)}
        ),
        r"does not open.*dealer: silo-4",
    ),
    "a box of another dealer": (other_box, r"does not open.*dealer: silo-3"),
    "a box for another silo": (
        lambda d: with_box(d, "silo-4", lambda b: {"recipient": "silo-5"}),
        "a box from silo-4 for silo-5",
    ),
    "my shares exchanged": (
        lambda d: replace(
            d, dealers=tuple((s, flipped(h) if s == ME else h) for s, h in d.dealers)
        ),
        "other shares than we dealt",
    ),
    "too few silos": (
        lambda d: replace(d, dealers=d.dealers[:3], boxes=d.boxes[:3]),
        "3 silos are left",
    ),
    "a silo without a box": (
        lambda d: replace(d, boxes=d.boxes[1:]),
        "not those of our neighbours",
    ),
    "a silo twice": (
        lambda d: replace(
            d, dealers=(*d.dealers, d.dealers[0]), boxes=(*d.boxes, d.boxes[0])
        ),
        "a silo is listed twice",
    ),
}


@pytest.mark.parametrize("case", BAD_DELIVERIES)
def test_sealed_shares_are_refused_with(case, round_):
    change, says = BAD_DELIVERIES[case]
    delivery = change(round_.share(round_.advertise())[ME])
    with pytest.raises(ProtocolError, match=says):
        round_.clients[ME].mask_input(delivery, round_.inputs[ME].copy())
    assert round_.clients[ME].state == "Aborted"


@pytest.mark.parametrize(
    "words",
    [np.zeros(19, np.uint32), np.zeros(20, np.int32), np.zeros((4, 5), np.uint32)],
    ids=["another length", "another type", "another shape"],
)
def test_an_input_other_than_advertised_is_refused(words, round_):
    delivery = round_.share(round_.advertise())[ME]
    with pytest.raises(ProtocolError, match="must be 20 words of 32 bits"):
        round_.clients[ME].mask_input(delivery, words)


BAD_SURVIVORS = {
    "another context": (lambda u: replace(u, context=b"x" * 32), "another context"),
    "my upload exchanged": (
        lambda u: replace(
            u, uploads=tuple((s, "0" * 64 if s == ME else h) for s, h in u.uploads)
        ),
        "another upload than ours",
    ),
    "me left out": (
        lambda u: replace(u, uploads=tuple(p for p in u.uploads if p[0] != ME)),
        "another upload than ours",
    ),
    "a stranger": (
        lambda u: replace(u, uploads=(*u.uploads, ("eve", "0" * 64))),
        "an unknown silo",
    ),
    "too few silos": (
        lambda u: replace(u, uploads=u.uploads[:3]),
        "3 silos are left, the terms ask for 4",
    ),
    "a silo twice to reach the quorum": (
        lambda u: replace(u, uploads=(*u.uploads[:3], u.uploads[1])),
        "listed twice",
    ),
}


@pytest.mark.parametrize("case", BAD_SURVIVORS)
def test_a_survivor_list_is_refused_with(case, round_):
    change, says = BAD_SURVIVORS[case]
    survivors = change(round_.upload(round_.share(round_.advertise())))
    with pytest.raises(ProtocolError, match=says):
        round_.clients[ME].confirm_survivors(survivors)
    assert round_.clients[ME].state == "Aborted"


def confirmed_by(round_, survivors, silos):
    """The signatures of these silos on a list, as a lying coordinator may send them."""
    signed = [(s, identity_of(s).sign_survivors(survivors)) for s in silos]
    return ConfirmedList(survivors.context, tuple(signed))


def test_only_one_list_of_survivors_is_confirmed(round_):
    survivors = round_.upload(round_.share(round_.advertise()))
    round_.clients[ME].confirm_survivors(survivors)
    without = SurvivorList(survivors.context, survivors.uploads[:4])
    with pytest.raises(ProtocolError, match="state ListConfirmed: legal here is Conf"):
        round_.clients[ME].confirm_survivors(without)


def test_both_secrets_of_one_silo_are_never_revealed(round_):
    survivors = round_.upload(round_.share(round_.advertise()))
    confirmed = round_.confirm(survivors)
    first = round_.clients[ME].reveal_shares(confirmed)
    assert "silo-5" in dict(first.seed_shares)
    without = SurvivorList(survivors.context, survivors.uploads[:4])
    with pytest.raises(ProtocolError, match=r"state Finished: legal here is nothing"):
        round_.clients[ME].reveal_shares(confirmed_by(round_, without, without.silos))


def test_split_views_of_the_survivors_open_nothing(round_):
    """Two lists, each confirmed by those who were shown it: no t signatures on one."""
    survivors = round_.upload(round_.share(round_.advertise()))
    without = SurvivorList(survivors.context, survivors.uploads[:4])
    shown = {"silo-1": without, ME: without, "silo-3": survivors, "silo-4": survivors}
    signatures = [
        (silo, round_.clients[silo].confirm_survivors(view).signature)
        for silo, view in shown.items()
    ]
    mixed = ConfirmedList(survivors.context, tuple(signatures))
    with pytest.raises(ProtocolError, match="silo-3 did not sign the list"):
        round_.clients[ME].reveal_shares(mixed)
    with pytest.raises(ProtocolError, match="2 silos confirmed"):
        round_.clients["silo-1"].reveal_shares(
            replace(mixed, signatures=tuple(signatures[:2]))
        )


BAD_CONFIRMED = {
    "one signature too few": (
        lambda c: replace(c, signatures=c.signatures[:3]),
        "3 silos confirmed the list of survivors, the terms ask for 4",
    ),
    "one silo twice": (
        lambda c: replace(c, signatures=(*c.signatures[:4], c.signatures[0])),
        "a silo confirmed twice",
    ),
    "a stranger": (
        lambda c: replace(c, signatures=(*c.signatures[:4], ("eve", bytes(64)))),
        "eve did not sign",
    ),
    "another context": (lambda c: replace(c, context=b"x" * 32), "another context"),
    "one signature under two names": (
        lambda c: replace(
            c, signatures=(*c.signatures[:4], ("silo-5", c.signatures[0][1]))
        ),
        "silo-5 did not sign",
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIRMED)
def test_a_confirmed_list_is_refused_with(case, round_):
    change, says = BAD_CONFIRMED[case]
    survivors = round_.upload(round_.share(round_.advertise()))
    confirmed = change(round_.confirm(survivors))
    with pytest.raises(ProtocolError, match=says):
        round_.clients[ME].reveal_shares(confirmed)
    assert round_.clients[ME].state == "Aborted"


def test_a_reveal_holds_exactly_one_secret_of_every_dealer(round_):
    round_.gone = {("silo-5", "MaskedInput")}
    survivors = round_.upload(round_.share(round_.advertise()))
    shown = round_.clients[ME].reveal_shares(round_.confirm(survivors))
    assert dict(shown.seed_shares).keys() == {"silo-1", "silo-2", "silo-3", "silo-4"}
    assert dict(shown.key_shares).keys() == {"silo-5"}


def test_min_silos_above_the_threshold_binds_the_silo_too(round_):
    round_ = SecureRound(terms_for(5, min_silos=5), random_inputs(5, 4))
    survivors = round_.upload(round_.share(round_.advertise()))
    with pytest.raises(ProtocolError, match="the terms ask for 5"):
        round_.clients[ME].confirm_survivors(
            replace(survivors, uploads=survivors.uploads[:4])
        )


def test_a_coordinator_in_the_middle_is_found_out(round_):
    """It puts its own keys in silo-1's place and signs them with a key of its own."""
    roster = round_.advertise()
    forger = identity_of("the coordinator")
    keys = public_key(b"c" * 32), public_key(b"m" * 32)
    forged = with_key(
        roster, "silo-1", channel_key=keys[0], mask_key=keys[1],
        identity=forger.public,
        signature=forger.sign_keys(roster.context, "silo-1", *keys),
    )  # fmt: skip
    pinned = {"silo-1": identity_of("silo-1").public}
    client = Client(ME, deterministic_bytes("round/silo-2"), identity_of(ME), pinned)
    client.advertise_keys(round_.terms, 20)
    with pytest.raises(ProtocolError, match="silo-1 shows another identity than"):
        client.share_keys(forged)


ILLEGAL = {
    "a roster before terms": lambda c, r: c.share_keys(r),
    "boxes before a roster": lambda c, r: c.mask_input(None, np.zeros(20, np.uint32)),
    "survivors before an upload": lambda c, r: c.confirm_survivors(None),
    "signatures before a list": lambda c, r: c.reveal_shares(None),
}


@pytest.mark.parametrize("case", ILLEGAL)
def test_a_message_out_of_order_is_refused_and_changes_nothing(case, round_):
    roster = round_.advertise()
    client = Client(ME, deterministic_bytes("fresh"), identity_of(ME))
    with pytest.raises(ProtocolError, match="in state Idle: legal here is Aggreg"):
        ILLEGAL[case](client, roster)
    assert client.state == "Idle"


def test_a_second_roster_is_refused_and_the_first_still_stands(round_):
    roster = round_.advertise()
    deliveries = round_.share(roster)
    with pytest.raises(ProtocolError, match="refused Roster from the coordinator"):
        round_.clients[ME].share_keys(roster)
    assert round_.clients[ME].mask_input(deliveries[ME], round_.inputs[ME].copy())


def test_an_aborted_silo_answers_nothing_any_more(round_):
    roster = round_.advertise()
    with pytest.raises(ProtocolError):
        round_.clients[ME].share_keys(replace(roster, context=b"x" * 32))
    with pytest.raises(ProtocolError, match="state Aborted"):
        round_.clients[ME].share_keys(roster)


@dataclass(frozen=True)
class LyingShares(Shares):
    """Commits to other shares than it holds."""

    def commitments(self, context, dealer, recipient):
        return b"1" * 32, b"2" * 32


def test_a_dealer_that_breaks_its_own_commitment_is_named(round_):
    keys = [KeyAdvertisement(s, 1, public_key(k), b"m" * 32, b"i" * 32, bytes(64))
            for s, k in [("liar", b"a" * 32), (ME, b"b" * 32)]]  # fmt: skip
    liar = SealedChannel("liar", b"c" * 32, b"r" * 32, b"a" * 32)
    box = liar.seal(keys[1], LyingShares(b"s" * 33, b"k" * 33), lambda n: b"n" * n)
    assert isinstance(box, SealedBox)
    with pytest.raises(ProtocolError, match="silo liar dealt shares that break"):
        SealedChannel(ME, b"c" * 32, b"r" * 32, b"b" * 32).open(keys[0], box)


def test_secrets_show_up_in_no_representation(round_):
    round_.share(round_.advertise())
    held = round_.clients[ME]._state
    shown = repr(held)
    for secret in (held.seed, held.before.mask.private, held.before.channel.private):
        assert repr(secret) not in shown

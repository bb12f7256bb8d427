"""Messages between silos, auditor and coordinator: what is bound, hidden, refused."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from data_contracts.errors import ProtocolError
from data_contracts.two_aggregators import MaskRequest
from data_contracts.workspace import Contribution
from tasks.secure_aggregation import split_side
from tasks.secure_aggregation.auditor import Auditor
from tasks.secure_aggregation.context import words_sha256
from tasks.secure_aggregation.masking import apply_masks
from tasks.secure_aggregation.seed_boxes import (
    mask_of,
    open_seed,
    split_context,
    upload_commitment,
)
from tasks.secure_aggregation.split_sum import SplitSum
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import (
    identity_of,
    integer_sum,
    random_inputs,
    terms_for,
)

TERMS = terms_for(4)


class Play:
    """Pure parties: four silos' uploads, and an auditor that knows them all."""

    def __init__(self, tmp_path):
        self.inputs = random_inputs(4, 60_000)
        self.auditor = self.fresh_auditor()
        cohort = InProcessCohort(self.inputs, tmp_path)
        key = self.auditor.key
        self.sent = {}
        for silo, words in self.inputs.items():
            workspace = cohort.workspaces[silo]
            workspace.put(Contribution(words.copy(), TERMS.kind))
            self.sent[silo] = split_side.upload_split_input(workspace, TERMS, key)
        context = split_context(TERMS, 60_000, key)
        boxes = tuple(message.box for message in self.sent.values())
        self.request = MaskRequest(context, 60_000, boxes)

    def fresh_auditor(self, **pinned):
        return Auditor(
            "auditor", TERMS, deterministic_bytes("a"), identity_of("auditor"), pinned
        )


@pytest.fixture
def play(tmp_path):
    return Play(tmp_path)


def test_the_auditors_sum_takes_exactly_the_masks_off(play):
    masks = play.auditor.sum_masks(play.request).words
    total = sum(message.words for message in play.sent.values()) - masks
    assert total.view(np.int32).tolist() == integer_sum(play.inputs)


# 99.999 % of a chi-square with 255 degrees of freedom lies below 360.
def byte_statistic(words, byte):
    counts = np.bincount(words.view(np.uint8)[byte::4], minlength=256)
    expected = words.size / 256
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("byte", range(4))
def test_an_upload_is_uniform_in_every_byte_and_the_input_is_not(play, byte):
    for silo, message in play.sent.items():
        assert byte_statistic(message.words, byte) < 360
        if byte == 3:
            assert byte_statistic(play.inputs[silo], byte) > 1000


def test_a_second_list_is_refused(play):
    play.auditor.sum_masks(play.request)
    fewer = replace(play.request, boxes=play.request.boxes[1:])
    with pytest.raises(ProtocolError, match="answered in this audit already"):
        play.auditor.sum_masks(fewer)


def changed(play, place, **fields):
    boxes = list(play.request.boxes)
    boxes[place] = replace(boxes[place], **fields)
    return replace(play.request, boxes=tuple(boxes))


BAD_REQUESTS = {
    "two silos": (
        lambda p: replace(p.request, boxes=p.request.boxes[:2]),
        "2 silos are in the sum, at least 3",
    ),
    "a silo twice": (
        lambda p: replace(p.request, boxes=(*p.request.boxes, p.request.boxes[0])),
        "listed twice",
    ),
    "a stranger": (lambda p: changed(p, 0, silo="mallory"), "mallory is no member"),
    "another length": (lambda p: replace(p.request, length=7), "other terms"),
    "another context": (
        lambda p: replace(p.request, context=bytes(32)),
        "other terms",
    ),
    "another upload": (
        lambda p: changed(p, 1, commitment="0" * 64),
        "not signed by it",
    ),
    "another seed": (lambda p: changed(p, 1, ciphertext=bytes(48)), "not signed by it"),
    "boxes swapped": (
        lambda p: changed(p, 1, ciphertext=p.request.boxes[0].ciphertext),
        "not signed by it",
    ),
    "a short seed": (lambda p: changed(p, 1, ciphertext=bytes(9)), "must be 48"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_request_is_refused_with(case, play):
    change, says = BAD_REQUESTS[case]
    with pytest.raises(ProtocolError, match=says):
        play.auditor.sum_masks(change(play))


def test_an_impostor_is_known_by_its_identity(play):
    auditor = play.fresh_auditor(**{"silo-2": b"m" * 32})
    with pytest.raises(ProtocolError, match="silo-2 shows another identity"):
        auditor.sum_masks(play.request)


def test_a_box_of_another_round_means_nothing(play):
    other = Auditor(
        "auditor",
        terms_for(4, round_number=9),
        deterministic_bytes("a"),
        identity_of("auditor"),
        {},
    )
    with pytest.raises(ProtocolError, match="belongs to other terms"):
        other.sum_masks(play.request)


def receive(play, change):
    summed = SplitSum(TERMS, "auditor")
    summed.receive("auditor", play.auditor.key)
    summed.close_opening()
    summed.receive("silo-1", play.sent["silo-1"])
    summed.receive("silo-2", change(play.sent["silo-2"]))


BAD_INPUTS = {
    "a flipped word": (
        lambda m: replace(m, words=m.words ^ np.uint32(1)),
        "words changed",
    ),
    "a missing word": (lambda m: replace(m, words=m.words[1:]), "other terms"),
    "another salt": (lambda m: replace(m, salt=bytes(32)), "words changed"),
    "a short salt": (
        lambda m: replace(m, salt=bytes(8)),
        "salt has 8 bytes, must be 32",
    ),
    "another ring": (
        lambda m: replace(m, words=m.words.astype(np.uint16)),
        "have not 32 bits",
    ),
    "another context": (lambda m: replace(m, context=bytes(32)), "other terms"),
    "another name": (lambda m: replace(m, silo="silo-3"), "names silo-3"),
    "an unsigned box": (
        lambda m: replace(m, box=replace(m.box, signature=bytes(64))),
        "not signed",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_an_input_is_refused_with(case, play):
    change, says = BAD_INPUTS[case]
    with pytest.raises(ProtocolError, match=says):
        receive(play, change)


def test_nobody_but_the_auditor_hands_out_keys_and_masks(play):
    summed = SplitSum(TERMS, "auditor")
    with pytest.raises(ProtocolError, match="it is not the auditor"):
        summed.receive("silo-1", replace(play.auditor.key, silo="silo-1"))
    with pytest.raises(ProtocolError, match="refused SplitInput"):
        summed.receive("silo-1", play.sent["silo-1"])


def test_an_unsigned_key_is_refused(play):
    summed = SplitSum(TERMS, "auditor")
    with pytest.raises(ProtocolError, match="its key is not signed"):
        summed.receive("auditor", replace(play.auditor.key, signature=bytes(64)))


def test_a_box_of_another_audit_means_nothing(play):
    other = Auditor(
        "auditor", TERMS, deterministic_bytes("b"), identity_of("auditor"), {}
    )
    with pytest.raises(ProtocolError, match="belongs to other terms"):
        other.sum_masks(play.request)


def after_uploads(play):
    summed = SplitSum(TERMS, "auditor")
    summed.receive("auditor", play.auditor.key)
    summed.close_opening()
    for silo, message in play.sent.items():
        summed.receive(silo, message)
    return summed, summed.close_uploads()


BAD_ANSWERS = {
    "a flipped mask": lambda m: replace(m, words=m.words ^ np.uint32(1)),
    "an empty signature": lambda m: replace(m, signature=bytes(64)),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_an_answer_that_the_auditor_did_not_sign_is_refused_with(case, play):
    summed, request = after_uploads(play)
    answer = play.auditor.sum_masks(request)
    with pytest.raises(ProtocolError, match="its sum is not signed"):
        summed.receive("auditor", BAD_ANSWERS[case](answer))
    summed.receive("auditor", answer)
    assert summed.unmask().tolist() == integer_sum(play.inputs)


def test_an_answer_for_another_list_is_refused(play):
    summed, request = after_uploads(play)
    fewer = replace(request, boxes=request.boxes[1:])
    with pytest.raises(ProtocolError, match="its sum is not signed"):
        summed.receive("auditor", play.auditor.sum_masks(fewer))


SECRET = 137
"""How many examples a silo has; the auditor knows that it is below 1000."""


def guesses(box, mask, hashed):
    """Inputs below 1000 that fit what the auditor was shown of the upload."""
    inputs = range(1000)
    return [x for x in inputs if hashed(mask + np.uint32(x)) == box.commitment]


def test_an_auditor_cannot_try_out_which_small_input_a_silo_has(tmp_path):
    """It knows the mask; a plain hash of the upload would be enough to guess."""
    auditor = Auditor(
        "auditor", TERMS, deterministic_bytes("a"), identity_of("auditor"), {}
    )
    key, seen = auditor.key, auditor._pair.private
    workspace = InProcessCohort(["silo-1"], tmp_path).workspaces["silo-1"]
    workspace.put(Contribution(np.array([SECRET], np.uint32), TERMS.kind))
    sent = split_side.upload_split_input(workspace, TERMS, key)
    context = split_context(TERMS, 1, key)
    seed = open_seed(sent.box, context, seen)
    mask = np.zeros(1, np.uint32)
    apply_masks(mask, [mask_of(seed, context, 1)])
    assert sent.words[0] - mask[0] == SECRET

    def committed(salt):
        return lambda w: upload_commitment(context, "silo-1", salt, w)

    # Without the salt, nothing fits; with it, one input does.
    unsalted = [words_sha256, committed(b""), committed(bytes(32))]
    assert all(guesses(sent.box, mask, hashed) == [] for hashed in unsalted)
    assert guesses(sent.box, mask, committed(sent.salt)) == [SECRET]
    # What the auditor is sent is the box, and the salt is nowhere in it.
    shown = [v if isinstance(v, bytes) else v.encode() for v in astuple(sent.box)]
    assert not any(
        sent.salt in field or sent.salt.hex().encode() in field for field in shown
    )
    # The weakness this guards against, shown to be one.
    weak = replace(sent.box, commitment=words_sha256(sent.words))
    assert guesses(weak, mask, words_sha256) == [SECRET]


def test_the_same_upload_is_committed_to_in_another_way_each_time(tmp_path):
    salts = set()
    for attempt in ("a", "b"):
        play = Play(tmp_path / attempt)
        salts |= {message.salt for message in play.sent.values()}
    assert len(salts) == 8

"""The mode with an auditor: exact, hidden, once, or refused in a sentence."""

from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest

from data_contracts.errors import ConfigError, ProtocolError, QuorumLostError, SiloError
from data_contracts.exposure import TWO_AGGREGATORS_WARNING
from data_contracts.progress import Silence, listening
from data_contracts.settings.cohort import AUDITOR_NAME
from data_contracts.settings.training import SecureAggregationConfig
from data_contracts.two_aggregators import MaskRequest
from data_contracts.workspace import COUNTS, Contribution
from tasks.secure_aggregation import split_side
from tasks.secure_aggregation.auditor import Auditor
from tasks.secure_aggregation.manifest import adopt_manifest, identity_in
from tasks.secure_aggregation.seed_boxes import split_context
from tasks.secure_aggregation.split_sum import SplitSum
from tasks.secure_aggregation.task import aggregate_securely, say_what_is_exposed
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import (
    identity_of,
    integer_sum,
    random_inputs,
    terms_for,
)

TWO = SecureAggregationConfig(mode="two-aggregators")
UPLOAD = "upload_split_input"


def federation(tmp_path, num_silos=5, length=30, ring_bits=32):
    inputs = random_inputs(num_silos, length, ring_bits=ring_bits)
    cohort = InProcessCohort(inputs, tmp_path)
    kind = replace(COUNTS, ring_bits=ring_bits)
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy(), kind))
    return inputs, cohort


def aggregate(cohort, config=TWO, **changes):
    arguments = {"purpose": "model update", "round_number": 3, "min_silos": 2}
    return aggregate_securely.fn(cohort, config=config, **(arguments | changes))


def subsets(silos):
    sizes = range(len(silos) + 1)
    return chain.from_iterable(combinations(silos, size) for size in sizes)


@pytest.mark.parametrize("num_silos", [2, 3, 4, 5, 6])
def test_whoever_is_gone_the_sum_is_exact_or_not_opened(num_silos, tmp_path):
    fewest = min(3, num_silos)
    for number, gone in enumerate(subsets(list(random_inputs(num_silos, 1)))):
        inputs, cohort = federation(tmp_path, num_silos)
        cohort.sabotage = {(s, UPLOAD): SiloError("the silo is gone") for s in gone}
        if num_silos - len(gone) < fewest:
            with pytest.raises(QuorumLostError, match="at split input"):
                aggregate(cohort, round_number=number + 1)
            continue
        result = aggregate(cohort, round_number=number + 1)
        left = {s: w for s, w in inputs.items() if s not in gone}
        assert result.total.tolist() == integer_sum(left)
        assert result.contributors == tuple(left)
        assert list(result.dropped) == list(gone)


@pytest.mark.parametrize("ring_bits", [8, 16, 32])
@pytest.mark.parametrize("length", [0, 1, 70_001])
def test_every_ring_and_length_is_summed(ring_bits, length, tmp_path):
    inputs, cohort = federation(tmp_path, 5, length, ring_bits)
    result = aggregate(cohort, kind=replace(COUNTS, ring_bits=ring_bits))
    assert result.total.tolist() == integer_sum(inputs)
    assert result.mode == "two-aggregators"
    phases = ["open audit", "split input", "sum masks"]
    assert [row.phase for row in result.phases] == phases


@pytest.mark.parametrize(
    ("step", "phase"), [("open_audit", "open audit"), ("sum_masks", "sum masks")]
)
def test_without_the_auditor_nothing_is_opened(step, phase, tmp_path):
    _, cohort = federation(tmp_path)
    cohort.sabotage[AUDITOR_NAME, step] = SiloError("the auditor is gone")
    with pytest.raises(QuorumLostError, match=f"at {phase}: the auditor gave no"):
        aggregate(cohort)


def test_a_round_is_summed_once_also_by_an_auditor_that_started_anew(tmp_path):
    """Retry differencing: silos forget, the auditor does not."""
    _, cohort = federation(tmp_path)
    aggregate(cohort)
    for silo in cohort.silos:
        for path in (tmp_path / silo / "confirmed_sums").iterdir():
            path.unlink()
    _, again = federation(tmp_path)
    again.sabotage["silo-3", UPLOAD] = SiloError("left out on purpose")
    with pytest.raises(QuorumLostError, match="a sum of model update in round 3 was"):
        aggregate(again)


def test_a_silo_sends_one_input_a_round_also_when_it_started_anew(tmp_path):
    inputs, cohort = federation(tmp_path)
    aggregate(cohort)
    _, again = federation(tmp_path)
    for silo in again.silos:
        again.workspaces[silo].put(Contribution(inputs[silo] + 1))
    with pytest.raises(QuorumLostError, match="0 of 5 silos are left"):
        aggregate(again)


def test_after_a_crash_the_auditor_says_whose_sum_must_be_finished(tmp_path):
    inputs, cohort = federation(tmp_path)
    cohort.sabotage["silo-3", UPLOAD] = SiloError("gone")
    aggregate(cohort)
    _, again = federation(tmp_path)
    left = {silo: words for silo, words in inputs.items() if silo != "silo-3"}
    assert aggregate(again, attempt=2).total.tolist() == integer_sum(left)


def test_a_false_auditor_is_found_out_by_silos_that_know_the_true_one(tmp_path):
    _, cohort = federation(tmp_path)
    aggregate(cohort)
    (tmp_path / AUDITOR_NAME / "identity.secret").unlink()
    _, again = federation(tmp_path)
    with pytest.raises(QuorumLostError, match="another auditor than the one it knows"):
        aggregate(again, round_number=4)


def test_under_a_manifest_only_its_auditor_is_believed(tmp_path):
    names = [f"silo-{i}" for i in range(1, 6)]
    keys = {s: identity_in(tmp_path / s).public.hex() for s in names}
    text = '{"silos": {%s}}'
    lines = [f'"{s}": "{key}"' for s, key in keys.items()]
    without, whole = tmp_path / "without.json", tmp_path / "whole.json"
    auditor = identity_in(tmp_path / AUDITOR_NAME).public.hex()
    without.write_text(text.replace("%s", ", ".join(lines)))
    lines.append(f'"{AUDITOR_NAME}": "{auditor}"')
    whole.write_text(text.replace("%s", ", ".join(lines)))
    for silo in names:
        adopt_manifest(tmp_path / silo, without)
    inputs, cohort = federation(tmp_path)
    config = SecureAggregationConfig(mode="two-aggregators", manifest=str(without))
    with pytest.raises(QuorumLostError, match=r"auditor gave no answer.*no manifest"):
        aggregate(cohort, config)
    for name in (*names, AUDITOR_NAME):
        adopt_manifest(tmp_path / name, whole, replace=True)
    config = SecureAggregationConfig(mode="two-aggregators", manifest=str(whole))
    assert aggregate(cohort, config).total.tolist() == integer_sum(inputs)


TERMS = terms_for(4)


class Play:
    """Pure parties: four silos' uploads, and an auditor that knows them all."""

    def __init__(self, tmp_path):
        self.inputs = random_inputs(4, 60_000)
        self.auditor = self.fresh_auditor()
        cohort = InProcessCohort(self.inputs, tmp_path)
        key = self.auditor.key()
        self.sent = {}
        for silo, words in self.inputs.items():
            workspace = cohort.workspaces[silo]
            workspace.put(Contribution(words.copy(), TERMS.kind))
            self.sent[silo] = split_side.upload_split_input(workspace, TERMS, key)
        context = split_context(TERMS, 60_000)
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
    "another upload": (lambda p: changed(p, 1, sha256="0" * 64), "not signed by it"),
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
    summed.receive("auditor", play.auditor.key())
    summed.close_opening()
    summed.receive("silo-1", play.sent["silo-1"])
    summed.receive("silo-2", change(play.sent["silo-2"]))


BAD_INPUTS = {
    "a flipped word": (
        lambda m: replace(m, words=m.words ^ np.uint32(1)),
        "words changed",
    ),
    "a missing word": (lambda m: replace(m, words=m.words[1:]), "59999 words where"),
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
        summed.receive("silo-1", replace(play.auditor.key(), silo="silo-1"))
    with pytest.raises(ProtocolError, match="refused SplitInput"):
        summed.receive("silo-1", play.sent["silo-1"])


class Heard(Silence):
    def __init__(self):
        self.notes = []

    def note(self, sentence):
        self.notes.append(sentence)


def test_a_person_is_told_who_must_be_independent():
    with listening(heard := Heard()):
        say_what_is_exposed(("a", "b", "c"), TWO)
    assert heard.notes == [TWO_AGGREGATORS_WARNING]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"groups": 3}, "more than one sum of a round"),
        ({"combine": "krum"}, "which mode two-aggregators hides"),
    ],
)
def test_defences_that_do_not_go_with_it_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        SecureAggregationConfig(mode="two-aggregators", **settings)


def test_one_silo_is_refused(tmp_path):
    _, cohort = federation(tmp_path, 1)
    with pytest.raises(ConfigError, match="has one silo"):
        aggregate(cohort, min_silos=1)

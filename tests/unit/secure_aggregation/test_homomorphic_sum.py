"""The homomorphic mode over an in-process cohort: exact, or refused in a sentence."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import ConfigError, QuorumLostError, SiloError
from data_contracts.homomorphic_aggregation import EncryptedInput, SealedKey, SumToOpen
from data_contracts.secure_aggregation import ConfirmedList, Phase, threshold_for
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from tests.simulators.homomorphic_federation import (
    HOMOMORPHIC,
    RelayedCohort,
    aggregate,
    shelve,
)
from tests.simulators.secure_round import integer_sum, random_inputs

pytest.importorskip("tenseal")

STEPS = [
    "advertise_channel_key",
    "deal_key",
    "upload_encrypted_input",
    "confirm_encrypted_survivors",
    "open_sum",
    "read_sum",
]
PHASES = [
    Phase.ADVERTISE_KEYS,
    Phase.DEAL_KEY,
    Phase.ENCRYPTED_INPUT,
    Phase.CONFIRM,
    Phase.OPEN_SUM,
    Phase.READ_SUM,
]
MASKED = SecureAggregationConfig(mode="masked")


@pytest.fixture
def federation(tmp_path):
    def build(num_silos, length=30):
        inputs = random_inputs(num_silos, length)
        cohort = RelayedCohort(inputs, tmp_path)
        shelve(cohort, inputs)
        return inputs, cohort

    return build


def lose(cohort, step, silos):
    for silo in silos:
        cohort.sabotage[silo, step] = SiloError("the silo is gone")


def sum_without(inputs, *gone):
    return integer_sum({s: w for s, w in inputs.items() if s not in gone})


def flipped(data, place=-1):
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("num_silos", [2, 3, 4, 5])
@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 9000])
def test_the_sum_is_the_integer_sum(num_silos, length, federation):
    inputs, cohort = federation(num_silos, length)
    result = aggregate(cohort)
    assert result.total.tolist() == integer_sum(inputs)
    assert result.total.dtype == np.int64
    assert result.contributors == cohort.silos
    assert (result.mode, result.dropped, result.faults) == ("homomorphic", {}, {})
    assert [row.phase for row in result.phases] == [phase.value for phase in PHASES]
    assert cohort.steps == STEPS


def test_the_largest_integers_there_are_add_up(federation):
    _, cohort = federation(5)
    largest = (2**31 - 1) // 5
    values = np.tile(np.array([largest, -largest], np.int32), 15).view(np.uint32)
    inputs = dict.fromkeys(cohort.silos, values)
    shelve(cohort, inputs)
    assert aggregate(cohort).total.tolist() == integer_sum(inputs)


def test_it_is_the_sum_that_masking_gives(federation):
    _, cohort = federation(4)
    homomorphic = aggregate(cohort, round_number=1)
    inputs, cohort = federation(4)
    masked = aggregate(cohort, round_number=2, config=MASKED)
    assert homomorphic.total.tolist() == masked.total.tolist() == integer_sum(inputs)


@pytest.mark.parametrize("num_silos", [4, 5])
@pytest.mark.parametrize("step", [STEPS[0], STEPS[2]])
def test_a_silo_may_vanish_before_its_upload(step, num_silos, federation):
    inputs, cohort = federation(num_silos)
    gone = f"silo-{num_silos}"
    lose(cohort, step, [gone])
    result = aggregate(cohort)
    assert result.total.tolist() == sum_without(inputs, gone)
    assert (set(result.dropped), result.faults) == ({gone}, {})


def test_a_dealer_that_vanishes_is_replaced(federation):
    inputs, cohort = federation(4)
    lose(cohort, "deal_key", ["silo-1"])
    result = aggregate(cohort)
    assert result.total.tolist() == sum_without(inputs, "silo-1")
    assert cohort.steps.count("deal_key") == 2


@pytest.mark.parametrize("step", ["open_sum", "read_sum"])
def test_all_but_one_of_those_who_open_may_vanish(step, federation):
    inputs, cohort = federation(5)
    gone = ["silo-1", "silo-2", "silo-3", "silo-4"]
    lose(cohort, step, gone)
    result = aggregate(cohort)
    assert result.total.tolist() == integer_sum(inputs)
    assert (result.dropped, list(result.faults)) == ({}, gone)


@pytest.mark.parametrize("num_silos", [3, 5])
@pytest.mark.parametrize(("step", "phase"), zip(STEPS[:4], PHASES[:4], strict=True))
def test_one_silo_too_few_stops_with_a_sentence(step, phase, num_silos, federation):
    _, cohort = federation(num_silos)
    gone = num_silos - threshold_for(num_silos) + 1
    lose(cohort, step, list(cohort.silos)[:gone])
    with pytest.raises(QuorumLostError, match=f"stopped at {phase}.*nothing was open"):
        aggregate(cohort)


@pytest.mark.parametrize(("step", "phase"), zip(STEPS[4:], PHASES[4:], strict=True))
def test_without_anybody_to_open_it_the_sum_is_lost(step, phase, federation):
    _, cohort = federation(3)
    lose(cohort, step, cohort.silos)
    with pytest.raises(QuorumLostError, match=f"stopped at {phase}"):
        aggregate(cohort)


def test_min_silos_above_the_threshold_counts(federation):
    _, cohort = federation(5)
    lose(cohort, "upload_encrypted_input", ["silo-5"])
    with pytest.raises(QuorumLostError, match="4 of 5 silos are left and 5"):
        aggregate(cohort, min_silos=5)


def test_one_silo_is_refused(federation):
    _, cohort = federation(1)
    with pytest.raises(ConfigError, match="would be its own input"):
        aggregate(cohort, min_silos=1)


def test_a_vector_above_the_bound_is_refused_before_anything_is_uploaded(federation):
    inputs, cohort = federation(3, 101)
    config = HOMOMORPHIC.model_copy(update={"homomorphic_max_parameters": 100})
    with pytest.raises(ConfigError, match=r"101 numbers .* accepts 100: .* masked"):
        aggregate(cohort, config=config)
    assert cohort.steps == ["advertise_channel_key"]
    config = HOMOMORPHIC.model_copy(update={"homomorphic_max_parameters": 101})
    assert aggregate(cohort, config=config).total.tolist() == integer_sum(inputs)


def test_a_round_is_summed_for_no_other_silos(federation):
    inputs, cohort = federation(4)
    total = aggregate(cohort).total.tolist()
    without = cohort.only(cohort.silos[:3])
    for config in (HOMOMORPHIC, MASKED):
        shelve(cohort, inputs)
        with pytest.raises(QuorumLostError, match="was confirmed before"):
            aggregate(without, config=config)
        shelve(cohort, inputs)
        assert aggregate(cohort, config=config).total.tolist() == total


def test_every_attempt_encrypts_under_a_key_of_its_own(federation):
    inputs, cohort = federation(3)
    aggregate(cohort, round_number=0)
    shelve(cohort, inputs)
    aggregate(cohort, round_number=0)
    boxes = [b.ciphertext for it in cohort.replies(SealedKey) for b in it.boxes]
    uploads = [it.ciphertexts for it in cohort.replies(EncryptedInput)]
    assert len(set(boxes)) == len(boxes) == 6
    assert len(set(uploads)) == 6


def test_a_changed_key_box_keeps_one_silo_out(federation):
    inputs, cohort = federation(4)

    def change(delivery):
        box = replace(delivery.box, ciphertext=flipped(delivery.box.ciphertext))
        return replace(delivery, box=box)

    cohort.on_the_way["silo-2", "upload_encrypted_input"] = change
    result = aggregate(cohort)
    assert result.total.tolist() == sum_without(inputs, "silo-2")
    assert "silo-1 with the shared key does not open" in (
        result.dropped["silo-2"].sentence
    )


def test_a_box_for_another_silo_does_not_open(federation):
    _, cohort = federation(4)
    boxes = {}

    def keep(sealed):
        boxes.update({box.recipient: box for box in sealed.boxes})
        return sealed

    cohort.on_the_way_back["silo-1", "deal_key"] = keep
    cohort.on_the_way["silo-2", "upload_encrypted_input"] = lambda delivery: replace(
        delivery, box=boxes["silo-3"]
    )
    assert "does not open" in aggregate(cohort).dropped["silo-2"].sentence


def test_a_roster_with_keys_of_the_relay_is_refused(federation):
    """The coordinator cannot put itself between dealer and silos."""
    _, cohort = federation(4)

    def between(roster):
        own = replace(roster.keys[1], channel_key=b"\1" * 32)
        return replace(roster, keys=(roster.keys[0], own, *roster.keys[2:]))

    cohort.on_the_way["silo-1", "deal_key"] = between
    failure = aggregate(cohort).dropped["silo-1"]
    assert "keys of silo-2 are not signed by it" in failure.sentence


def test_another_identity_than_the_pinned_one_is_refused(federation):
    inputs, cohort = federation(4)
    aggregate(cohort)
    (cohort.workspaces["silo-2"].folder / "identity.secret").unlink()
    shelve(cohort, inputs)
    with pytest.raises(QuorumLostError, match="silo-2 shows another identity"):
        aggregate(cohort, round_number=4)


def only_the_upload_of(cohort, silo):
    """What a coordinator sends that wants to read one silo's input."""

    def instead(asked: SumToOpen) -> SumToOpen:
        (upload,) = (it for it in cohort.replies(EncryptedInput) if it.silo == silo)
        return replace(asked, ciphertexts=upload.ciphertexts)

    return instead


def test_a_single_upload_is_not_opened_as_if_it_were_the_sum(federation):
    inputs, cohort = federation(4)
    cohort.on_the_way["silo-1", "open_sum"] = only_the_upload_of(cohort, "silo-4")
    result = aggregate(cohort)
    assert result.total.tolist() == integer_sum(inputs)
    assert "not the sum of the uploads" in result.faults["silo-1"].sentence


def test_a_sum_nobody_believes_is_lost(federation):
    _, cohort = federation(4)
    for silo in cohort.silos:
        cohort.on_the_way[silo, "open_sum"] = only_the_upload_of(cohort, "silo-4")
    with pytest.raises(QuorumLostError, match="not the sum of the uploads"):
        aggregate(cohort)


def test_swapped_ciphertexts_are_not_opened(federation):
    _, cohort = federation(4, 9000)
    cohort.on_the_way["silo-1", "open_sum"] = lambda asked: replace(
        asked, ciphertexts=asked.ciphertexts[::-1]
    )
    assert "not the sum" in aggregate(cohort).faults["silo-1"].sentence


def test_a_list_that_fewer_than_t_silos_signed_is_not_opened(federation):
    _, cohort = federation(4)

    def fewer(asked):
        signed = asked.confirmed.signatures[:2]
        return replace(asked, confirmed=replace(asked.confirmed, signatures=signed))

    cohort.on_the_way["silo-1", "open_sum"] = fewer
    failure = aggregate(cohort).faults["silo-1"]
    assert "2 silos confirmed the list of survivors" in failure.sentence


def test_a_silo_signs_no_list_without_its_own_upload(federation):
    _, cohort = federation(5)
    cohort.on_the_way["silo-1", "confirm_encrypted_survivors"] = lambda it: replace(
        it, uploads=it.uploads[1:]
    )
    assert "another upload than ours" in aggregate(cohort).faults["silo-1"].sentence


def test_signatures_of_another_list_do_not_count(federation):
    _, cohort = federation(4)
    cohort.on_the_way["silo-1", "open_sum"] = lambda asked: replace(
        asked,
        confirmed=ConfirmedList(
            asked.confirmed.context,
            tuple((silo, flipped(s)) for silo, s in asked.confirmed.signatures),
        ),
    )
    assert "did not sign" in aggregate(cohort).faults["silo-1"].sentence


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda it: replace(it, ciphertexts=it.ciphertexts * 2), "changed on their"),
        (lambda it: replace(it, ciphertexts=(bytes(80_000),)), "must be 1 to"),
        (lambda it: replace(it, ciphertexts=(b"",)), "must be 1 to"),
        (lambda it: replace(it, silo="silo-1"), "it names silo-1 as sender"),
        (lambda it: replace(it, context=bytes(32)), "another aggregation"),
        (lambda it: replace(it, sha256=""), "changed on their way"),
    ],
)
def test_a_wrong_upload_is_left_out_of_the_sum(change, complaint, federation):
    inputs, cohort = federation(4)
    cohort.on_the_way_back["silo-4", "upload_encrypted_input"] = change
    result = aggregate(cohort)
    assert result.total.tolist() == sum_without(inputs, "silo-4")
    assert complaint in result.dropped["silo-4"].sentence


def test_a_silo_that_opens_another_sum_is_named(federation):
    inputs, cohort = federation(5)
    cohort.on_the_way_back["silo-1", "open_sum"] = lambda it: replace(it, sha256="0")
    result = aggregate(cohort)
    assert result.total.tolist() == integer_sum(inputs)
    assert "another sum than most" in result.faults["silo-1"].sentence


def test_a_silo_that_reads_out_another_sum_is_replaced_and_named(federation):
    inputs, cohort = federation(5)
    cohort.on_the_way_back["silo-1", "read_sum"] = lambda it: replace(
        it, total=it.total + 1
    )
    result = aggregate(cohort)
    assert result.total.tolist() == integer_sum(inputs)
    assert "another sum than the silos opened" in result.faults["silo-1"].sentence


def test_a_silo_of_another_length_is_left_out_and_named(federation):
    inputs, cohort = federation(5)
    shelve(cohort, {"silo-2": np.zeros(31, np.uint32)})
    result = aggregate(cohort)
    assert result.total.tolist() == sum_without(inputs, "silo-2")
    assert "31 coordinates" in result.dropped["silo-2"].sentence


def test_bytes_are_counted(federation):
    """A ciphertext up, a box and the sum down; the first silo deals and reads."""
    _, cohort = federation(3, 4095)
    result = aggregate(cohort)
    assert 65_600 < result.bytes_up["silo-2"] == result.bytes_up["silo-3"] < 67_000
    boxes_and_sum = result.bytes_up["silo-1"] - result.bytes_up["silo-2"]
    assert 3 * 60_000 + 8 * 4095 < boxes_and_sum < 3 * 67_000 + 8 * 4096
    assert 3 * 125_000 < result.bytes_down < 3 * 135_000

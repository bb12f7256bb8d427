"""The mode with an auditor: exact, hidden, once, or refused in a sentence."""

from dataclasses import replace
from itertools import chain, combinations

import pytest

from data_contracts.errors import ConfigError, QuorumLostError, SiloError
from data_contracts.exposure import TWO_AGGREGATORS_WARNING
from data_contracts.progress import Silence, listening
from data_contracts.settings.cohort import AUDITOR_NAME
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Contribution
from tasks.secure_aggregation.manifest import adopt_manifest, identity_in
from tasks.secure_aggregation.task import aggregate_securely, say_what_is_exposed
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import (
    integer_sum,
    random_inputs,
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


LENGTHS = {
    "the first is odd": ((31, 30, 30, 30), ("silo-1",)),
    "the last is odd": ((30, 30, 30, 29), ("silo-4",)),
    "two are odd": ((31, 30, 29, 30, 30), ("silo-1", "silo-3")),
    "two of each": ((30, 31, 31, 30, 31, 30), ("silo-2", "silo-3", "silo-5")),
}


@pytest.mark.parametrize("case", LENGTHS)
@pytest.mark.parametrize("order", [list, lambda silos: list(reversed(silos))])
def test_one_silo_with_another_length_does_not_stop_the_others(case, order, tmp_path):
    lengths, odd = LENGTHS[case]
    inputs = {
        f"silo-{i}": random_inputs(1, length)["silo-1"]
        for i, length in enumerate(lengths, start=1)
    }
    cohort = InProcessCohort(inputs, tmp_path, answering_order=order)
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy(), COUNTS))
    result = aggregate(cohort)
    left = {silo: words for silo, words in inputs.items() if silo not in odd}
    assert result.total.tolist() == integer_sum(left)
    assert tuple(sorted(result.dropped)) == odd
    for failure in result.dropped.values():
        assert f"words where {len(left)} silos sent 30" in failure.sentence


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

"""Groups of silos with a secure sum each: who is with whom, and what is left of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import ConfigError, QuorumLostError, SiloError
from data_contracts.exposure import GROUPS_NOTE
from data_contracts.progress import listening
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution
from tasks.secure_aggregation import task
from tasks.secure_aggregation.groups import deal
from tasks.secure_aggregation.task import aggregate_securely, say_what_is_exposed
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import integer_sum, random_inputs
from tests.simulators.small_federation import Notebook

NAMES = tuple(f"silo-{i}" for i in range(1, 13))
GROUPS = SecureAggregationConfig(groups=4, combine="median")


@pytest.fixture
def federation(tmp_path):
    """(inputs, cohort) of twelve silos, each with its input on the shelf."""
    inputs = random_inputs(len(NAMES), 20)
    cohort = InProcessCohort(inputs, tmp_path)
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy()))
    return inputs, cohort


def aggregate(cohort, config=GROUPS, **changes):
    options = {"min_silos": 2, "apart": True} | changes
    return aggregate_securely.fn(cohort, "model update", 3, config, **options)


def dealt(cohort):
    return deal(cohort.silos, 4, cohort.run_id, 3)


@given(st.integers(3, 40), st.integers(1, 5), st.integers(0, 99))
def test_every_silo_is_in_one_group_and_groups_differ_by_one_at_most(n, groups, number):
    silos = tuple(f"s{i}" for i in range(n))
    parts = deal(silos, groups, "run", number)
    assert sorted(sum(parts, ())) == sorted(silos)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(list(part) == [s for s in silos if s in part] for part in parts)


def test_groups_change_with_the_round_and_the_run_and_with_nothing_else():
    assert deal(NAMES, 4, "run", 1) == deal(NAMES, 4, "run", 1)
    others = [deal(NAMES, 4, "run", n) for n in range(2, 30)]
    assert all(other != deal(NAMES, 4, "run", 1) for other in others)
    assert deal(NAMES, 4, "other", 1) != deal(NAMES, 4, "run", 1)
    # Who is together does not depend on the order in which the silos are listed.
    mirrored = deal(NAMES[::-1], 4, "run", 1)
    assert set(map(frozenset, mirrored)) == set(
        map(frozenset, deal(NAMES, 4, "run", 1))
    )


def test_every_pair_of_silos_meets_about_as_often_as_chance_has_it():
    rounds = [deal(NAMES, 4, "run", number) for number in range(600)]
    together = sum(any({"silo-1", "silo-2"} <= {*g} for g in r) for r in rounds)
    # 2 of the 11 others share a group; 109 expected, standard deviation 9.4.
    assert 70 < together < 150


def test_each_group_is_summed_exactly_and_so_is_the_whole(federation):
    inputs, cohort = federation
    summed = aggregate(cohort)
    assert {part.silos for part in summed.parts} == set(dealt(cohort))
    for part in summed.parts:
        expected = integer_sum({silo: inputs[silo] for silo in part.silos})
        assert np.array_equal(part.total, expected)
    assert np.array_equal(summed.total, integer_sum(inputs))
    assert summed.contributors == NAMES
    assert set(summed.commitments) == set(summed.bytes_up) == set(NAMES)


def test_the_coordinator_opens_nothing_smaller_than_a_group(federation, monkeypatch):
    _, cohort = federation
    offered = []

    def watched(silos, terms, **options):
        offered.append(terms)
        return run(silos, terms, **options)

    run = task.run_protocol
    monkeypatch.setattr(task, "run_protocol", watched)
    aggregate(cohort, min_silos=10)
    assert [terms.members for terms in offered] == list(dealt(cohort))
    assert {(t.threshold, t.min_silos, t.quorum) for t in offered} == {(3, 3, 3)}
    assert {terms.purpose for terms in offered} == {"model update"}


def test_a_group_that_cannot_be_opened_is_left_out_by_name(federation):
    inputs, cohort = federation
    lost = next(group for group in dealt(cohort) if "silo-5" in group)
    cohort.sabotage["silo-5", "upload_masked_input"] = SiloError("gone")
    summed = aggregate(cohort)
    assert set(summed.dropped) == set(lost)
    assert "the sum of the group" in summed.dropped[lost[0]].sentence
    assert len(summed.parts) == 3
    rest = {silo: words for silo, words in inputs.items() if silo not in lost}
    assert np.array_equal(summed.total, integer_sum(rest))


def test_too_few_groups_to_outvote_a_poisoned_one_end_the_round(federation):
    _, cohort = federation
    for group in dealt(cohort)[:2]:
        cohort.sabotage[group[0], "share_keys"] = SiloError("gone")
    with pytest.raises(QuorumLostError, match=r"has 2 groups of silos and .* needs 3"):
        aggregate(cohort)


def test_with_too_few_silos_for_the_groups_nothing_is_sent(federation):
    _, cohort = federation
    eight = cohort.only(NAMES[:8])
    with pytest.raises(QuorumLostError, match=r"has 2 groups .*\(8 silos are left\)"):
        aggregate(eight)
    assert cohort.steps == []


def test_a_few_missing_silos_make_fewer_groups_and_never_smaller_ones(federation):
    _, cohort = federation
    summed = aggregate(cohort.only(NAMES[:10]))
    assert sorted(len(part.silos) for part in summed.parts) == [3, 3, 4]


def test_the_quorum_counts_the_silos_of_all_opened_groups(federation):
    _, cohort = federation
    cohort.sabotage["silo-5", "share_keys"] = SiloError("gone")
    with pytest.raises(QuorumLostError, match="needs 10 silos and 9 are left"):
        aggregate(cohort, min_silos=10)


def test_a_group_whose_vectors_have_another_length_is_left_out(federation):
    _, cohort = federation
    odd = dealt(cohort)[1]
    for silo in odd:
        cohort.workspaces[silo].put(Contribution(np.zeros(21, np.uint32)))
    summed = aggregate(cohort)
    assert set(summed.dropped) == set(odd)
    assert len(summed.total) == 20


def test_what_needs_no_parts_is_summed_in_one(federation):
    _, cohort = federation
    assert aggregate(cohort, apart=False).parts == ()


def test_without_a_defence_a_plain_sum_hands_out_no_input(federation):
    _, cohort = federation
    assert aggregate(cohort, SecureAggregationConfig(mode="plain")).parts == ()


def test_plain_inputs_are_handed_out_where_they_are_to_be_compared(federation):
    inputs, cohort = federation
    cohort.sabotage["silo-3", "upload_in_the_clear"] = SiloError("gone")
    config = SecureAggregationConfig(mode="plain", combine="krum")
    summed = aggregate(cohort, config)
    assert [part.silos for part in summed.parts] == [
        (silo,) for silo in NAMES if silo != "silo-3"
    ]
    for part in summed.parts:
        assert np.array_equal(part.total, inputs[part.silos[0]].view(np.int32))
    assert np.array_equal(summed.total, sum(part.total for part in summed.parts))


def test_a_person_is_told_of_groups_and_of_too_few_silos_for_them():
    notebook = Notebook()
    with listening(notebook):
        say_what_is_exposed(NAMES, GROUPS)
    assert notebook.notes == [GROUPS_NOTE.format(groups=4)]
    with pytest.raises(ConfigError, match="groups 4 needs 12 silos"):
        say_what_is_exposed(NAMES[:11], GROUPS)

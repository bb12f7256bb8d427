"""The whole protocol over an in-process cohort: exact, or refused in a sentence."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from data_contracts.errors import (
    ConfigError,
    FailureReason,
    NotFiniteError,
    ProtocolError,
    QuorumLostError,
    SiloError,
)
from data_contracts.secure_aggregation import Phase, threshold_for
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Contribution, InputKind
from models.fixed_point import FixedPoint
from tasks.secure_aggregation import silo_side
from tasks.secure_aggregation.protocol import run_protocol
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import integer_sum, random_inputs, terms_for

STEPS = [
    "advertise_keys",
    "share_keys",
    "upload_masked_input",
    "confirm_survivors",
    "reveal_shares",
]
UPLOADED = STEPS[3:]
PHASES = [
    Phase.ADVERTISE_KEYS,
    Phase.SHARE_KEYS,
    Phase.MASKED_INPUT,
    Phase.CONFIRM,
    Phase.UNMASKING,
]
MASKED, PLAIN = (SecureAggregationConfig(mode=mode) for mode in ("masked", "plain"))


@pytest.fixture
def federation(tmp_path):
    """(inputs, cohort) of n silos, each with its input on the shelf."""

    def build(num_silos, length=30, order=lambda silos: silos):
        inputs = random_inputs(num_silos, length)
        cohort = InProcessCohort(inputs, tmp_path, answering_order=order)
        for silo, words in inputs.items():
            cohort.workspaces[silo].put(Contribution(words.copy()))
        return inputs, cohort

    return build


def aggregate(cohort, config=MASKED, **changes):
    arguments = {"purpose": "model update", "round_number": 3, "min_silos": 2}
    return aggregate_securely.fn(cohort, config=config, **(arguments | changes))


def lose(cohort, step, silos):
    for silo in silos:
        cohort.sabotage[silo, step] = SiloError("the silo is gone")


@pytest.mark.parametrize("num_silos", [2, 3, 5, 10])
@pytest.mark.parametrize("length", [0, 1, 4, 65_541])
def test_the_sum_is_the_integer_sum(num_silos, length, federation):
    inputs, cohort = federation(num_silos, length)
    result = aggregate(cohort)
    assert result.total.dtype == np.int32
    assert result.total.tolist() == integer_sum(inputs)
    assert result.contributors == cohort.silos
    assert (result.dropped, result.faults, result.mode) == ({}, {}, "masked")


def test_the_silos_are_called_once_per_phase(federation):
    _, cohort = federation(3)
    aggregate(cohort)
    assert cohort.steps == STEPS


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("num_silos", [5, 10])
def test_n_minus_t_silos_may_vanish_before_any_phase(step, num_silos, federation):
    inputs, cohort = federation(num_silos)
    gone = list(inputs)[1 : 1 + num_silos - threshold_for(num_silos)]
    lose(cohort, step, gone)
    result = aggregate(cohort)
    left_out = [] if step in UPLOADED else gone
    summed = {s: w for s, w in inputs.items() if s not in left_out}
    assert result.total.tolist() == integer_sum(summed)
    assert result.contributors == tuple(summed)
    assert list(result.dropped) == left_out
    assert list(result.faults) == [s for s in gone if s not in left_out]
    assert {f.sentence for f in (result.dropped | result.faults).values()} == {
        "the silo is gone"
    }


@pytest.mark.parametrize(("early", "late"), [*pairwise(STEPS), (STEPS[0], STEPS[4])])
def test_silos_may_vanish_before_different_phases(early, late, federation):
    inputs, cohort = federation(10)
    lose(cohort, early, ["silo-1", "silo-10"])
    lose(cohort, late, ["silo-4"])
    result = aggregate(cohort)
    assert result.total.tolist() == integer_sum(
        {silo: inputs[silo] for silo in result.contributors}
    )
    assert ("silo-4" in result.contributors) == (late in UPLOADED)
    left = result.faults if early in UPLOADED else result.dropped
    assert {"silo-1", "silo-10"} == set(left) - {"silo-4"}


@pytest.mark.parametrize(("step", "phase"), list(zip(STEPS, PHASES, strict=True)))
@pytest.mark.parametrize("num_silos", [3, 5, 10])
def test_one_silo_too_few_stops_with_a_sentence(step, phase, num_silos, federation):
    inputs, cohort = federation(num_silos)
    threshold = threshold_for(num_silos)
    lose(cohort, step, list(inputs)[: num_silos - threshold + 1])
    with pytest.raises(QuorumLostError) as stopped:
        aggregate(cohort)
    assert (
        f"stopped at {phase}: {threshold - 1} of {num_silos} silos are left and "
        f"{threshold} are needed; missing: silo-1 (step crashed: the silo is gone)"
    ) in stopped.value.message
    assert "nothing was opened" in stopped.value.message


@pytest.mark.parametrize("step", STEPS[:3])
def test_min_silos_above_the_threshold_counts(step, federation):
    _, cohort = federation(5)
    lose(cohort, step, ["silo-1"])
    with pytest.raises(QuorumLostError, match="4 of 5 silos are left and 5 are needed"):
        aggregate(cohort, min_silos=5)


def test_min_silos_counts_inputs_and_not_revealers(federation):
    inputs, cohort = federation(5)
    lose(cohort, "reveal_shares", ["silo-1"])
    assert aggregate(cohort, min_silos=5).total.tolist() == integer_sum(inputs)


def test_the_answering_order_changes_no_bit(federation, tmp_path):
    orders = [
        lambda silos: silos,
        lambda silos: silos[::-1],
        lambda silos: silos[2:] + silos[:2],
        lambda silos: sorted(silos, key=lambda s: s[::-1]),
    ]
    results = []
    for number, order in enumerate(orders, 1):
        _, cohort = federation(5, 1000, order)
        lose(cohort, "upload_masked_input", ["silo-3"])
        results.append(aggregate(cohort, round_number=number))
    assert len({result.total.tobytes() for result in results}) == 1
    assert {result.contributors for result in results} == {
        ("silo-1", "silo-2", "silo-4", "silo-5")
    }


@pytest.mark.parametrize("config", [MASKED, PLAIN], ids=["masked", "plain"])
@pytest.mark.parametrize("odd", ["silo-1", "silo-4"])
def test_a_silo_of_another_length_is_left_out_and_named(config, odd, federation):
    inputs, cohort = federation(5)
    cohort.workspaces[odd].put(Contribution(np.zeros(31, np.uint32)))
    result = aggregate(cohort, config)
    del inputs[odd]
    assert result.total.tolist() == integer_sum(inputs)
    assert result.dropped[odd].reason is FailureReason.BAD_INPUT
    assert f"silo {odd} brought 31 coordinates" in result.dropped[odd].sentence


@pytest.mark.parametrize("config", [MASKED, PLAIN], ids=["masked", "plain"])
def test_a_silo_without_a_contribution_is_left_out(config, federation):
    inputs, cohort = federation(5)
    cohort.workspaces["silo-2"].take(Contribution)
    result = aggregate(cohort, config)
    del inputs["silo-2"]
    assert result.total.tolist() == integer_sum(inputs)
    assert "holds no Contribution yet" in result.dropped["silo-2"].sentence


@pytest.mark.parametrize("num_silos", [1, 2, 5])
def test_plain_mode_gives_the_same_sum_and_says_that_it_is_plain(num_silos, federation):
    inputs, cohort = federation(num_silos)
    result = aggregate(cohort, PLAIN, min_silos=1)
    assert result.total.tolist() == integer_sum(inputs)
    assert (result.mode, cohort.steps) == ("plain", ["upload_in_the_clear"])


def test_plain_mode_keeps_the_quorum(federation):
    _, cohort = federation(3)
    lose(cohort, "upload_in_the_clear", ["silo-1"])
    with pytest.raises(QuorumLostError, match="2 of 3 silos are left and 3 are needed"):
        aggregate(cohort, PLAIN, min_silos=3)


def test_one_silo_cannot_be_masked(federation):
    _, cohort = federation(1)
    with pytest.raises(ConfigError, match="mode to plain"):
        aggregate(cohort, min_silos=1)


@pytest.mark.parametrize("config", [MASKED, PLAIN], ids=["masked", "plain"])
def test_a_cohort_below_min_silos_is_not_even_asked(config, federation):
    _, cohort = federation(3)
    with pytest.raises(QuorumLostError, match="needs 4 silos and 3 are left"):
        aggregate(cohort, config, min_silos=4)
    assert cohort.steps == []


def test_a_contribution_is_used_up_so_a_second_attempt_needs_a_new_one(federation):
    _, cohort = federation(3)
    aggregate(cohort)
    with pytest.raises(QuorumLostError, match="holds no Contribution yet"):
        aggregate(cohort)


def test_a_round_is_summed_once_even_by_silos_that_started_anew(federation):
    """Retry differencing: the same update again, without one silo."""
    inputs, cohort = federation(5)
    first = aggregate(cohort)
    again, reborn = federation(5)
    lose(reborn, "upload_masked_input", ["silo-3"])
    with pytest.raises(QuorumLostError, match="a sum of model update in round 3 was"):
        aggregate(reborn)
    assert first.total.tolist() == integer_sum(inputs)
    _, next_round = federation(5)
    assert aggregate(next_round, round_number=4).contributors == tuple(again)


def test_counts_before_the_first_round_may_be_asked_for_again(federation):
    for _ in range(2):
        inputs, cohort = federation(3)
        result = aggregate(cohort, round_number=0, purpose="item counts")
        assert result.total.tolist() == integer_sum(inputs)


def test_a_silo_that_shows_another_identity_stops_the_sum_and_is_named(federation):
    _, cohort = federation(5)
    aggregate(cohort)
    (cohort.workspaces["silo-2"].folder / "identity.secret").unlink()
    _, reborn = federation(5)
    with pytest.raises(QuorumLostError, match="silo-2 shows another identity"):
        aggregate(reborn, round_number=4)
    for silo in set(reborn.silos) - {"silo-2"}:
        path = reborn.workspaces[silo].folder / "identities.json"
        pinned = json.loads(path.read_text())
        del pinned["silo-2"]
        path.write_text(json.dumps(pinned))
    (reborn.workspaces["silo-2"].folder / "identities.json").unlink()
    inputs, repaired = federation(5)
    assert aggregate(repaired, round_number=5).total.tolist() == integer_sum(inputs)


def test_damaged_pins_are_a_sentence_and_not_a_fresh_start(federation):
    _, cohort = federation(5)
    (cohort.workspaces["silo-2"].folder / "identities.json").write_text("{")
    result = aggregate(cohort)
    assert "identities.json is damaged" in result.dropped["silo-2"].sentence


def test_a_read_only_contribution_is_summed_and_left_alone(federation):
    inputs, cohort = federation(3)
    shared = inputs["silo-1"].copy()
    shared.setflags(write=False)
    cohort.workspaces["silo-1"].put(Contribution(shared))
    assert aggregate(cohort).total.tolist() == integer_sum(inputs)
    assert shared.tolist() == inputs["silo-1"].tolist()


def test_nothing_but_masked_words_leaves_a_silo(federation, monkeypatch):
    inputs, cohort = federation(3, 1000)
    sent = []
    original = silo_side.upload_masked_input

    def upload_masked_input(workspace, delivery):
        sent.append((workspace.silo, message := original(workspace, delivery)))
        return message

    monkeypatch.setattr(silo_side, "upload_masked_input", upload_masked_input)
    aggregate(cohort)
    assert len(sent) == 3
    for silo, message in sent:
        assert (message.words == inputs[silo]).sum() <= 1


def test_uploads_cost_four_bytes_a_word_and_are_committed_to(federation):
    _, cohort = federation(3, 100_000)
    result = aggregate(cohort)
    for silo in cohort.silos:
        assert 400_000 < result.bytes_up[silo] < 400_000 * 1.005
        assert len(result.commitments[silo]) == 64
    assert len(set(result.commitments.values())) == 3
    assert 0 < result.bytes_down < 10_000
    assert [row.phase for row in result.phases] == [phase.value for phase in PHASES]
    assert {(row.asked, row.answered) for row in result.phases} == {(3, 3)}
    assert sum(row.bytes_up for row in result.phases) == sum(result.bytes_up.values())


def test_phase_seconds_are_told_by_the_clock(federation):
    _, cohort = federation(3)
    ticks = iter(range(100))
    result = run_protocol(
        cohort,
        terms_for(3, kind=COUNTS),
        clock=lambda: float(next(ticks)),
        deadline_seconds=5.0,
    )
    assert {row.seconds for row in result.phases} == {1.0}


def test_all_silos_at_the_clip_bound_do_not_overflow(federation):
    _, cohort = federation(10)
    point = FixedPoint.of(4.0, 10)
    for workspace in cohort.workspaces.values():
        words, clipped = point.encode(np.array([4.0, -4.0, 1e9]))
        assert clipped == 1
        workspace.put(Contribution(words))
    decoded = point.decode(aggregate(cohort).total)
    assert decoded.tolist() == pytest.approx([40.0, -40.0, 40.0], rel=1e-12)


def test_a_silo_whose_update_is_not_finite_shelves_nothing_and_is_left_out(federation):
    inputs, cohort = federation(5)
    workspace = cohort.workspaces["silo-3"]
    workspace.take(Contribution)
    with pytest.raises(NotFiniteError):
        FixedPoint(1.0, 2**24).encode(np.array([np.nan]))
    result = aggregate(cohort)
    del inputs["silo-3"]
    assert result.total.tolist() == integer_sum(inputs)


def test_terms_of_another_run_are_refused(federation):
    _, cohort = federation(3)
    with pytest.raises(
        ProtocolError, match="serves run run-1 and was offered terms of"
    ):
        silo_side.advertise_keys(
            cohort.workspaces["silo-1"], terms_for(3, run_id="run-2")
        )


@pytest.mark.parametrize(
    "change", [InputKind(32, "", "another"), InputKind(32, "another", "the model")]
)
def test_a_silo_knows_model_and_encoding_and_takes_nobodys_word(federation, change):
    inputs, cohort = federation(5)
    agreed = InputKind(32, "", "the model")
    for silo, words in inputs.items():
        told = change if silo == "silo-4" else agreed
        cohort.workspaces[silo].put(Contribution(words.copy(), told))
    result = aggregate(cohort, kind=agreed)
    assert list(result.dropped) == ["silo-4"]
    assert "another global model" in result.dropped["silo-4"].sentence
    del inputs["silo-4"]
    assert result.total.tolist() == integer_sum(inputs)


def test_silos_that_were_told_of_different_models_complete_no_sum(
    federation, monkeypatch
):
    """A coordinator that hands silo-2 another model and lies about the context."""
    inputs, cohort = federation(3)
    other = InputKind(32, "", "another")
    crafted = Contribution(inputs["silo-2"].copy(), other)
    cohort.workspaces["silo-2"].put(crafted)
    original = silo_side.advertise_keys
    contexts = {}

    def advertise_keys(workspace, terms, early_length):
        if workspace.silo == "silo-2":
            terms = replace(terms, kind=other)
        reply = original(workspace, terms)
        client = workspace.get(silo_side.Client)
        contexts[workspace.silo] = client._state.context
        return reply

    def share_keys(workspace, roster):
        own = replace(roster, context=contexts[workspace.silo])
        dealt = workspace.get(silo_side.Client).share_keys(own)
        return replace(dealt, context=roster.context)

    def upload_masked_input(workspace, delivery):
        own = replace(delivery, context=contexts[workspace.silo])
        words = workspace.take(Contribution).words
        return workspace.get(silo_side.Client).mask_input(own, words)

    for step in (advertise_keys, share_keys, upload_masked_input):
        monkeypatch.setattr(silo_side, step.__name__, step)
    with pytest.raises(
        QuorumLostError, match=r"2 of 3.*not signed by it for these terms"
    ):
        aggregate(cohort)

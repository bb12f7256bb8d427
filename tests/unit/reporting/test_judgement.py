"""Cautions and privacy statements follow from what was done."""

from dataclasses import replace

import pytest

from data_contracts.records import Subject
from tasks.reporting.judgement import cautions, privacy
from tasks.reporting.remarks import Tone
from tests.simulators.fake_history import failed_history, fake_history


def sentences(remarks, tone):
    return " ".join(remark.sentence for remark in remarks if remark.tone == tone)


def test_plain_aggregation_is_the_first_and_loudest_caution():
    first = cautions(fake_history(mode="plain", loser="educator"))[0]
    assert first.tone == Tone.ALARM
    assert "Secure aggregation was off" in first.sentence
    assert "PLAIN" in sentences(privacy(fake_history(mode="plain")), Tone.ALARM)


def test_one_plain_round_is_enough_for_the_alarm():
    history = fake_history(rounds=4)
    rounds = (replace(history.rounds[0], aggregation_mode="plain"), *history.rounds[1:])
    remarks = privacy(replace(history, rounds=rounds))
    assert "PLAIN" in sentences(remarks, Tone.ALARM)
    assert "masked" in sentences(remarks, Tone.GOOD)


def test_homomorphic_aggregation_says_what_one_silo_could_give_away():
    remarks = privacy(fake_history(mode="homomorphic"))
    assert "together with any one silo" in sentences(remarks, Tone.WARNING)
    assert "masked" not in sentences(remarks, Tone.GOOD)


def test_masked_aggregation_raises_no_alarm():
    history = fake_history()
    assert sentences((*cautions(history), *privacy(history)), Tone.ALARM) == ""


def test_a_configured_mode_is_not_claimed_as_done():
    remarks = privacy(failed_history(rounds=0))
    assert sentences(remarks, Tone.GOOD) == ""
    assert "as configured" in sentences(remarks, Tone.INFO)


@pytest.mark.parametrize(("silos", "alarmed"), [(2, True), (3, False)])
def test_sums_of_fewer_than_three_silos_do_not_hide_anyone(silos, alarmed):
    loud = sentences(cautions(fake_history(silos=silos)), Tone.ALARM)
    assert ("fewer than 3 contributors" in loud) is alarmed


@pytest.mark.parametrize("shown", [True, False])
def test_visibility_of_silo_metrics_is_stated(shown):
    remarks = privacy(fake_history(per_silo_metrics=shown))
    tone = Tone.WARNING if shown else Tone.GOOD
    assert "etrics" in sentences(remarks, tone)
    assert ("visible to the coordinator" in sentences(remarks, Tone.WARNING)) is shown


def test_absence_of_differential_privacy_is_always_stated():
    for history in (fake_history(), failed_history()):
        assert "No differential privacy" in sentences(privacy(history), Tone.WARNING)


def test_a_silo_that_loses_and_a_quarantined_silo_are_named():
    told = sentences(
        cautions(fake_history(loser="educator", quarantined="artist-other")),
        Tone.WARNING,
    )
    assert "educator loses by joining" in told
    assert "artist-other took no part in the run" in told


def test_a_model_that_does_not_beat_a_baseline_is_not_recommended():
    history = fake_history()
    lowered = tuple(
        replace(m, value=0.02) if m.subject == Subject.FEDERATED else m
        for m in history.metrics
    )
    told = sentences(cautions(replace(history, metrics=lowered)), Tone.WARNING)
    assert "does not beat the markov chain baseline" in told
    assert "does not beat the popularity baseline" in told


def test_pooling_is_mentioned_only_when_it_happened():
    with_pooled, without = fake_history(), fake_history(subjects=(Subject.FEDERATED,))
    assert "pooled comparison" in sentences(privacy(with_pooled), Tone.INFO)
    assert "pooled comparison" not in sentences(privacy(without), Tone.INFO)


@pytest.mark.parametrize(
    ("ring_bits", "advice"),
    [(32, "raise secure_aggregation.clip"), (16, "make them good in later rounds")],
)
def test_clipping_is_told_with_what_to_do_about_it(ring_bits, advice):
    history = fake_history()
    text = history.run.config_json.replace(
        '"ring_bits": 32', f'"ring_bits": {ring_bits}'
    )
    history = replace(history, run=replace(history.run, config_json=text))
    first, *others = history.rounds
    history = replace(
        history, rounds=(replace(first, clipped_coordinates=12_345), *others)
    )
    told = [r.sentence for r in cautions(history) if "clipped" in r.sentence]
    assert len(told) == 1
    assert "12,345" in told[0]
    assert advice in told[0]

"""The key figures, checked by eye against the fake history's constants."""

import pytest

from data_contracts.records import Subject
from tasks.reporting.overview import key_figures, metric_lines
from tasks.reporting.units import byte_unit, in_bytes, in_percent, in_seconds
from tests.simulators.fake_history import failed_history, fake_history


def told(history) -> dict[str, tuple[str, str]]:
    return {item.label: (item.value, item.note) for item in key_figures(history)}


def test_key_figures_of_a_usual_run():
    figures = told(fake_history())
    assert figures.pop("Time in rounds")[0].startswith("1 min ")
    assert figures == {
        "NDCG@10 together": ("0.1000", "test, all silos"),
        "NDCG@10 alone": ("0.0750", "test, mean of silos"),
        "Lift": ("+33.3 %", "together over alone"),
        "Silos that gain": ("4 of 4", "by joining"),
        "Of pooled quality": ("91 %", "without pooling data"),
        "Rounds": ("10", "1 rejected"),
        "Traffic": ("92.4 MB", "45.7 MB up, 46.7 MB down"),
    }


def test_a_silo_that_loses_is_not_counted_as_gaining():
    assert told(fake_history(loser="educator"))["Silos that gain"][0] == "3 of 4"


def test_figures_that_were_not_measured_are_left_out():
    assert told(failed_history()) == {}
    only = told(fake_history(subjects=(Subject.FEDERATED,)))
    assert "Lift" not in only
    assert "Of pooled quality" not in only


def test_models_keep_their_order_and_unmeasured_ones_are_left_out():
    some = (Subject.MARKOV, Subject.FEDERATED)
    lines = metric_lines(fake_history(subjects=some))
    assert [line.title for line in lines] == ["Federated", "Markov chain"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (in_bytes(0), "0 B"),
        (in_bytes(999), "999 B"),
        (in_bytes(1_000), "1.0 kB"),
        (in_bytes(3.2e15), "3200.0 TB"),
        (in_seconds(59.94), "59.9 s"),
        (in_seconds(60), "1 min 0 s"),
        (in_seconds(7300), "2 h 1 min"),
        (in_percent(0.333), "+33.3 %"),
        (in_percent(None), "\N{EN DASH}"),
        (byte_unit(0), (1.0, "B")),
    ],
)
def test_numbers_read_like_text(shown, expected):
    assert shown == expected

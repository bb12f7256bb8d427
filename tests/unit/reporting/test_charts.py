"""Charts are well-formed, deterministic, labelled, and ask for nothing."""

from xml.etree import ElementTree

import pytest

from data_contracts.records import Subject
from tasks.reporting import charts
from tasks.reporting.canvas import spread
from tests.simulators.fake_history import failed_history, fake_history

DRAWINGS = {
    "validation": charts.validation_chart,
    "comparison": charts.comparison_chart,
    "bytes": charts.bytes_chart,
    "time": charts.time_chart,
}
HISTORIES = {
    "usual": fake_history(),
    "one silo, one round, no baseline": fake_history(
        silos=1, rounds=1, subjects=(Subject.FEDERATED,)
    ),
    "a dozen silos": fake_history(silos=12, rounds=2),
    "no silo figures": fake_history(per_silo_metrics=False),
    "nothing": failed_history(),
}
XML_NAMES = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")


def texts(svg: str) -> set[str]:
    elements = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return {"".join(element.itertext()).strip() for element in elements}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_every_chart_of_every_history_is_xml_without_addresses(draw, history):
    svg = draw(history)
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    for name in XML_NAMES:
        svg = svg.replace(f'"{name}"', "")
    assert "://" not in svg


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_same_history_same_bytes(draw):
    assert draw(fake_history(rounds=2)) == draw(fake_history(rounds=2))


def test_the_picture_for_prefect_is_a_deterministic_png():
    uri = charts.comparison_png(fake_history())
    assert uri.startswith("data:image/png;base64,iVBOR")
    assert uri == charts.comparison_png(fake_history())
    assert charts.comparison_png(failed_history()) == ""


def test_lines_and_points_are_labelled_where_they_lie():
    history = fake_history()
    names = {"all silos", "educator", "executive-sales"}
    assert names <= texts(charts.validation_chart(history))
    models = {"together", "alone", "pooled", "popularity", "Markov", "EASE"}
    assert names | models <= texts(charts.comparison_chart(history))
    assert {"train", "aggregate", "evaluate"} <= texts(charts.time_chart(history))
    assert {"up, from silos", "down, to silos"} <= texts(charts.bytes_chart(history))


def test_of_many_curves_only_the_whole_and_the_extremes_carry_a_name():
    labels = texts(charts.validation_chart(fake_history(silos=40, rounds=3)))
    assert "all silos" in labels
    assert len([name for name in labels if name.startswith(("silo-", "edu"))]) <= 2


def test_identifiers_of_charts_on_one_page_do_not_collide():
    seen: set[str] = set()
    for draw in DRAWINGS.values():
        root = ElementTree.fromstring(draw(fake_history()))
        ids = {element.get("id") for element in root.iter()} - {None}
        assert not ids & seen
        seen |= ids


def test_labels_keep_their_order_their_distance_and_the_frame():
    places = spread([0.1, 9.9, 9.8, 9.95], gap=1.0, low=0.0, high=10.0)
    assert places == pytest.approx([0.1, 9.0, 8.0, 10.0])


def test_labels_that_do_not_all_fit_keep_their_distance():
    places = spread([1.0, 1.0, 1.0], gap=1.0, low=0.0, high=1.0)
    assert places == [0.0, 1.0, 2.0]

"""The report holds every figure, asks the network for nothing, and escapes text."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from data_contracts.errors import UsageError
from data_contracts.records import Subject
from tasks.reporting.findings import comparison
from tasks.reporting.report import render_report, write_report
from tasks.reporting.sections import phases
from tasks.reporting.units import figure, in_percent
from tests.simulators.fake_history import failed_history, fake_history, sha

PARTIAL = {
    "no round": failed_history(),
    "failed after two rounds": failed_history(rounds=2),
    "federated only": fake_history(subjects=(Subject.FEDERATED,)),
    "no comparison at all": fake_history(subjects=()),
    "silos keep their metrics": fake_history(per_silo_metrics=False),
    "one silo": fake_history(silos=1, rounds=1),
    "forty silos": fake_history(silos=40, rounds=1),
}
VOID = {"meta", "link", "br"}
HOSTILE = '<script>alert("1")</script>'


class Balance(HTMLParser):
    """Collects tags that are closed out of order, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.mistakes: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        names = ("src", "href", "xlink:href", "action", "data", "srcset")
        self.addresses += [v or "" for name, v in attributes if name in names]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(tag)


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(fake_history(loser="educator", quarantined="artist-other"))


def test_report_asks_the_network_for_nothing(page):
    parsed = Balance()
    parsed.feed(page)
    assert parsed.addresses
    assert all(a.startswith(("#", "data:")) for a in parsed.addresses)
    assert re.search(r"https?://|@import|url\((?!#)", page) is None
    assert "default-src 'none'" in page


@pytest.mark.parametrize("history", PARTIAL.values(), ids=PARTIAL)
def test_partial_histories_become_whole_pages(history):
    parsed = Balance()
    parsed.feed(render_report(history))
    assert (parsed.open, parsed.mistakes) == ([], [])


def test_every_figure_of_every_silo_is_in_the_report(page):
    for row in comparison(fake_history(loser="educator", quarantined="artist-other")):
        expected = [row.silo, in_percent(row.lift), *map(figure, row.values.values())]
        line = next(part for part in page.split("<tr") if f">{row.silo}</td>" in part)
        assert [text for text in expected if text not in line] == []


def test_the_loser_the_worst_and_the_quarantined_silo_are_named(page):
    assert "educator loses by joining (−4.4" in page  # noqa: RUF001 - as printed
    assert "Worst served by the shared model: <strong>executive-sales</strong>" in page
    assert "artist-other was quarantined:" in page


def test_every_phase_of_the_sums_is_shown_with_what_it_took(page):
    rows = re.findall(r"<tr><td>([a-z ]+)</td><td class=\"n\">4</td>.*</tr>", page)
    assert rows == [
        "advertise keys", "share keys", "masked input", "confirm survivors",
        "unmasking",
    ]  # fmt: skip
    assert re.search(r"A silo sent \d\.\d\d bytes for each parameter", page)


def test_a_silo_that_was_missing_shows_as_a_span():
    history = fake_history()
    line = next(row for row in phases(history) if row.phase == "masked input")
    assert (line.asked, line.answered) == ("4", "3 to 4")
    assert line.bytes_each == 1_168_000


def test_failed_expectations_come_before_passed_ones(page):
    assert page.index(">failed</strong>") < page.index("<td>passed")
    assert "1 of 25 results are failures" in page


def test_decisions_attendance_and_their_reasons_are_shown(page):
    for told in ("rejected, previous model kept", "learning rate cut", "14 % below"):
        assert told in page
    assert page.count('<td class="out">') == 1
    assert "educator, round 2: missed the deadline" in page


def test_lineage_names_every_hash(page):
    names = ("model 10", "model 9", "vocabulary", "code", "data of educator")
    assert [name for name in names if sha(name) not in page] == []
    assert fake_history().run.config_hash in page


def test_the_whole_configuration_is_shown(page):
    assert "dataset: ml-100k" in page
    assert "max_regression: 0.1" in page


def test_code_that_differs_at_a_silo_is_pointed_out():
    history = fake_history(rounds=1)
    other = replace(history.participants[0], code_hash=sha("other code"))
    changed = replace(history, participants=(other, *history.participants[1:]))
    assert "differs from the coordinator" not in render_report(history)
    assert "differs from the coordinator" in render_report(changed)


def test_text_from_silos_cannot_become_markup():
    history = fake_history(rounds=2, quarantined="artist-other")
    decisions = tuple(replace(d, sentence=HOSTILE) for d in history.decisions)
    hostile = replace(
        history,
        run=replace(history.run, name=HOSTILE, config_json=HOSTILE),
        decisions=decisions,
        participants=tuple(
            replace(p, contributed=False, reason=HOSTILE) for p in history.participants
        ),
        metrics=tuple(
            replace(m, silo=HOSTILE) if m.silo == "educator" else m
            for m in history.metrics
        ),
    )
    page = render_report(hostile)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_long_runs_show_only_rounds_with_a_gap():
    page = render_report(fake_history(rounds=61))
    assert "Only rounds in which a silo was missing" in page
    assert page.count('<td class="in">') == 3


def test_same_history_same_file(tmp_path):
    first = write_report(fake_history(rounds=2), tmp_path / "new" / "a.html")
    second = write_report(fake_history(rounds=2), tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()


def test_a_rewritten_report_replaces_the_old_one_and_leaves_no_scraps(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(fake_history(rounds=1), path)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the report cannot be written to"):
        write_report(fake_history(rounds=1), tmp_path / "file" / "report.html")

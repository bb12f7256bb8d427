"""What a person at a terminal, or a log, gets to read."""

import io

import pytest
from rich.console import Console

from tasks.reporting.terminal import (
    PlainProgress,
    RichProgress,
    final_table,
    terminal_progress,
)
from tests.simulators.fake_history import failed_history, fake_history, sha


def printed(history, width: int = 120, report_path: str = "") -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(final_table(history, report_path))
    return console.file.getvalue()


def test_final_table_compares_models_then_silos():
    lines = printed(fake_history(loser="educator")).splitlines()
    cells = {line.split("  ")[0].strip(): line.split() for line in lines}
    assert cells["Federated"][1:] == ["0.1900", "0.1000", "0.0850", "0.2500", "6.1000"]
    assert cells["Local only, mean"][3:5] == ["0.1425", "0.0750"]
    assert cells["educator"][-2:] == ["−4.4", "%"]  # noqa: RUF001 - as printed


def test_final_table_says_where_things_lie_and_what_to_do_next():
    text = printed(fake_history(), report_path="/reports/run.html")
    assert "Report: /reports/run.html" in text
    assert "Model: silorec_output/models/" in text
    assert "Lineage: silorec_output/lineage" in text
    assert f"silorec lineage show {sha('model 10')[:12]}" in text
    assert "silorec ui" in text


def test_no_path_is_cut_in_a_narrow_terminal():
    path = "/a/very/long/way/to/the/folder/of/reports/of/this/run/report.html"
    text = printed(fake_history(), width=40, report_path=path)
    assert path in text.replace("\n", "")


def test_a_failed_run_shows_its_reason_and_no_empty_table():
    text = printed(failed_history())
    assert "The run failed after 0 rounds" in text
    assert "Test window" not in text


def test_plain_progress_writes_one_line_per_event():
    stream = io.StringIO()
    listener = PlainProgress(stream)
    listener.stage("Validating 4 silos")
    listener.note("educator was quarantined")
    listener.round(3, 10, "NDCG@10 0.0700")
    assert stream.getvalue().splitlines() == [
        "Validating 4 silos",
        "note: educator was quarantined",
        "round 3/10  NDCG@10 0.0700",
    ]


def test_plain_progress_tells_how_far_silos_are_at_a_readable_pace():
    now = [0.0]
    stream = io.StringIO()
    listener = PlainProgress(stream, clock=lambda: now[0])
    for now[0] in (10.0, 29.0, 31.0, 45.0, 62.0):
        listener.silos({"a": (now[0] / 100, ""), "b": (0.5, "")})
    assert stream.getvalue().splitlines() == ["  a 31%, b 50%", "  a 62%, b 50%"]


def test_a_pipe_gets_plain_lines_without_control_characters():
    stream = io.StringIO()
    with terminal_progress(stream) as listener:
        listener.stage("Training")
        listener.silos({"a": (0.5, "epoch 2")})
    assert stream.getvalue() == "Training\n"


@pytest.mark.parametrize("sentence", ["silo [bold]b[/bold] left", "[/]"])
def test_a_terminal_keeps_rounds_and_notes_and_shows_text_as_it_is(sentence):
    console = Console(
        file=io.StringIO(), force_terminal=True, width=100, color_system=None
    )
    listener = RichProgress(console)
    with listener.display:
        listener.stage(sentence)
        listener.silos({"a": (0.25, sentence), "b": (1.0, "")})
        listener.note(sentence)
        listener.round(1, 3, sentence)
        listener.stage("Aggregating")
    text = console.file.getvalue()
    assert text.count(sentence) >= 3
    assert f"round 1/3  {sentence}" in text

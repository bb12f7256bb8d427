"""Progress as lines of JSON."""

from __future__ import annotations

import io
import json
from datetime import datetime

import pytest

from data_contracts.errors import UsageError
from tasks.reporting.json_progress import JsonProgress, log_format
from tasks.reporting.terminal import PlainProgress, terminal_progress


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_is_one_object_that_names_the_run():
    stream = io.StringIO()
    log = JsonProgress(stream)
    log.stage("Starting")
    log.run("weekly-1")
    log.lap("train", 1.23456)
    log.round(2, 5, "loss 0.500")
    log.note("silo north is\nquarantined")
    told = lines(stream)
    assert [one["event"] for one in told] == ["stage", "run", "lap", "round", "note"]
    assert [one["run"] for one in told] == ["", *["weekly-1"] * 4]
    assert [one["level"] for one in told] == [*["info"] * 4, "warning"]
    assert told[2] | {"time": ""} == {
        "time": "", "level": "info", "event": "lap", "run": "weekly-1",
        "message": "train is over", "stage": "train", "seconds": 1.235,
    }  # fmt: skip
    assert (told[3]["round"], told[3]["of"], told[3]["message"]) == (2, 5, "loss 0.500")
    assert told[4]["message"] == "silo north is\nquarantined"
    for one in told:
        assert datetime.fromisoformat(one["time"]).utcoffset().total_seconds() == 0


def test_silos_at_work_are_told_at_the_pace_of_a_log():
    now, stream = [0.0], io.StringIO()
    log = JsonProgress(stream, clock=lambda: now[0])
    for now[0] in (1.0, 29.0, 31.0, 45.0):
        log.silos({"north": (0.25, "batch 3 of 12")})
    (told,) = lines(stream)
    assert told["silos"] == {"north": 0.25}


@pytest.mark.parametrize(
    ("asked", "kind"), [("json", JsonProgress), ("text", PlainProgress)]
)
def test_the_environment_chooses_the_format(asked, kind, monkeypatch):
    monkeypatch.setenv("SILOREC_LOG_FORMAT", asked)
    with terminal_progress(io.StringIO()) as progress:
        assert isinstance(progress, kind)


def test_another_format_is_one_sentence(monkeypatch):
    monkeypatch.setenv("SILOREC_LOG_FORMAT", "xml")
    with pytest.raises(UsageError, match="'xml'; it must be text or json"):
        log_format()


def test_without_a_word_of_the_environment_it_is_text(monkeypatch):
    monkeypatch.delenv("SILOREC_LOG_FORMAT", raising=False)
    assert log_format() == "text"

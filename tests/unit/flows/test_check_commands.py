"""`silorec preflight` and `silorec replay` without a run: what is said, how it ends."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from types import ModuleType

import pytest

from data_contracts.preflight import PreflightReport
from data_contracts.presets import PRESETS
from data_contracts.replay import Replay, RoundReplay
from data_contracts.run_config import FederatedTrainingConfig
from flows import cli, preflight_command, replay_command
from tasks.preflight import checks
from tasks.preflight.estimate import estimate_run
from tests.simulators.canary import canary_round

CONFIG = FederatedTrainingConfig.model_validate(PRESETS["ml-100k"])
NORTH_ONLY = {"north": True, "south": False}


def report(*found, price=None) -> PreflightReport:
    canary = canary_round()
    estimate = estimate_run(canary, CONFIG, price)
    return PreflightReport(name="x", checks=found, canary=canary, estimate=estimate)


def round_replay(sha256: str, silos) -> RoundReplay:
    return RoundReplay(
        round_number=3,
        recorded_sha256="ab" * 32,
        replayed_sha256=sha256,
        recorded_loss=2.5,
        replayed_loss=2.5,
        recorded_norm=1.5,
        replayed_norm=1.5,
        silos=silos,
    )


@pytest.fixture
def flow(monkeypatch):
    """Stands for the flow: answers what the test says, keeps what it was asked."""
    asked = []

    def stand_in(module, name, answer):
        def called(*arguments):
            asked.append(arguments)
            return answer

        stub = ModuleType(f"flows.{name}")
        setattr(stub, name, called)
        monkeypatch.setitem(sys.modules, f"flows.{name}", stub)
        monkeypatch.setattr(module, "ready_for_flows", lambda verbose: nullcontext())
        return asked

    return stand_in


def test_preflight_asks_with_the_settings_of_train_and_the_price(flow, capsys):
    good = checks.ok("connectivity", "4 silos answer")
    asked = flow(preflight_command, "preflight", report(good, price=2.0))
    flags = ("--schedule.rounds", "7", "--price-per-hour", "2")
    assert cli.main(["preflight", "--dataset", "ml-100k", *flags]) == 0
    ((config, price),) = asked
    assert (config.schedule.rounds, price) == (7, 2.0)
    told = capsys.readouterr().out
    assert "4 silos answer" in told
    assert "cost" in told


def test_a_failed_check_ends_with_status_1_and_what_to_do(flow, capsys):
    bad = checks.failed("contracts", "west broke it", "repair its tables")
    flow(preflight_command, "preflight", report(bad))
    assert cli.main(["preflight", "--dataset", "ml-100k"]) == 1
    told = capsys.readouterr()
    assert "-> repair its tables" in told.out
    assert told.err == "silorec: 1 of 1 checks failed: contracts\n"


def test_a_warning_is_no_failure(flow):
    hint = checks.warning("policy", "the sum is of two", "ask them")
    flow(preflight_command, "preflight", report(hint))
    assert cli.main(["preflight", "--dataset", "ml-100k"]) == 0


def test_preflight_as_json_holds_everything(flow, capsys):
    flow(preflight_command, "preflight", report(checks.ok("code", "the same")))
    assert cli.main(["preflight", "--dataset", "ml-100k", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is True
    assert told["checks"][0]["status"] == "ok"
    assert told["canary"]["silos"]["north"]["bytes_up"] == 4_000
    assert told["estimate"]["total_seconds"] > told["estimate"]["round_seconds"]


def test_an_equal_replay_ends_with_status_0(flow, capsys):
    same = Replay(
        run_id="run-1",
        rounds=(round_replay("ab" * 32, {"north": True, "south": None}),),
        cautions=("the code is another one",),
    )
    asked = flow(replay_command, "replay", same)
    assert cli.main(["replay", "run", "--round", "3", "--output-folder", "o"]) == 0
    assert asked == [("run", 3, "o", False)]
    told = capsys.readouterr().out
    assert "round 3 is equal: model abababababab" in told
    assert "cannot tell" in told
    assert "the code is another one" in told


def test_a_replay_that_differs_ends_with_status_1_and_names_the_first_silo(
    flow, capsys
):
    other = Replay(
        run_id="run-1", rounds=(round_replay("cd" * 32, NORTH_ONLY),), cautions=()
    )
    flow(replay_command, "replay", other)
    assert cli.main(["replay", "run", "--round", "3", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["equal"] is False
    assert told.err == (
        "silorec: run run-1: round 3 differs: the update of silo south is the first "
        "that differs\n"
    )


def test_a_replay_needs_a_round(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["replay", "run"])
    assert "--round" in capsys.readouterr().err

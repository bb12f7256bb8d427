"""`silorec maintain` and `silorec doctor` on the command line."""

from __future__ import annotations

import json
import os
import sys

import pytest

from data_contracts.health import Finding, Severity
from data_contracts.records import RoundRecord
from data_contracts.settings.maintenance import MaintenanceConfig
from flows import cli, installation_checks
from flows.maintenance import maintenance
from flows.maintenance_commands import maintenance_config
from tasks.lineage.delta_log import entry_path
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_end, append_round, append_start


@pytest.fixture(autouse=True)
def sound_machine(monkeypatch):
    """Whatever runs the tests, no finding comes from it."""
    monkeypatch.setattr(installation_checks, "installation_findings", lambda folder: ())


@pytest.fixture
def folder(tmp_path):
    writer = LineageStore(tmp_path)
    append_start(writer, "run1")
    for number in (1, 2, 3):
        append_round(writer, "run1", number)
    append_end(writer, "run1")
    return tmp_path


def flags(*words: str) -> MaintenanceConfig:
    return maintenance_config(cli.build_parser().parse_args(["maintain", *words]))


def test_flags_are_the_settings_and_their_defaults():
    assert flags() == MaintenanceConfig()
    assert flags(
        "runs", "--remove", "--tables", "rounds", "metrics",
        "--retention-hours", "12", "--orphan-hours", "1.5",
    ) == MaintenanceConfig(
        output_folder="runs", remove=True, tables=("rounds", "metrics"),
        retention_hours=12, orphan_hours=1.5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--tables", "rows"), "tables.0"),
        (("--retention-hours", "0"), "retention_hours"),
        (("--orphan-hours", "many"), "orphan_hours"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_code_2(wrong, named, capsys):
    assert cli.main(["maintain", *wrong]) == 2
    assert f"command line: {named}: " in capsys.readouterr().err


def test_maintain_tells_what_it_did_and_what_would_go(folder, capsys):
    assert cli.main(["maintain", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "rounds: 3 data files are now 1" in told
    assert "to remove it, give --remove" in told
    assert cli.main(["maintain", str(folder), "--remove", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["removed"] is True
    assert {"table", "files_before", "files_after", "replaced"} == set(
        result["tables"][0]
    )


def test_a_sound_folder_is_code_0(folder, capsys):
    assert cli.main(["doctor", str(folder)]) == 0
    assert "are sound" in capsys.readouterr().out


def test_a_broken_folder_is_code_1_until_it_is_repaired(folder, capsys):
    broken = entry_path(folder / "lineage" / "rounds", 2)
    broken.write_bytes(b"{")
    assert cli.main(["doctor", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("problem: entry 2 of the Delta log")
    assert "1 problem found" in captured.err
    assert broken.read_bytes() == b"{"
    assert cli.main(["doctor", str(folder), "--repair"]) == 0
    told = capsys.readouterr().out
    assert "repaired: put an entry without content" in told
    assert "look again in a minute" in told
    for path in (folder / "lineage" / "rounds").glob("*.parquet"):
        os.utime(path, (0, 0))
    assert cli.main(["doctor", str(folder)]) == 1
    assert cli.main(["doctor", str(folder), "--repair"]) == 0
    assert "restored 1 rows of run run1" in capsys.readouterr().out
    assert len(LineageStore(folder).read(RoundRecord)) == 3


def test_json_tells_a_program_everything(folder, capsys):
    entry_path(folder / "lineage" / "rounds", 2).write_bytes(b"{")
    assert cli.main(["doctor", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is False
    (finding,) = told["findings"]
    assert finding["check"] == "delta-log"
    assert finding["repairable"] is True


def test_a_note_alone_is_code_0(folder, capsys, monkeypatch):
    note = Finding("ports", "x", "port 4200 is taken; give another", Severity.NOTE)
    monkeypatch.setattr(
        installation_checks, "installation_findings", lambda folder: (note,)
    )
    assert cli.main(["doctor", str(folder)]) == 0
    assert "note: port 4200 is taken" in capsys.readouterr().out


def test_the_machine_is_examined_though_delta_cannot_be_loaded(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    for name in [name for name in sys.modules if name.startswith("tasks.lineage")]:
        monkeypatch.delitem(sys.modules, name)
    broken = Finding("versions", "deltalake", "deltalake is not installed; install it")
    monkeypatch.setattr(
        installation_checks, "installation_findings", lambda folder: (broken,)
    )
    assert cli.main(["doctor", str(tmp_path)]) == 1
    assert "problem: deltalake is not installed" in capsys.readouterr().out


def test_the_flow_has_a_form_made_of_the_settings():
    properties = maintenance.parameters.definitions["MaintenanceConfig"]["properties"]
    assert set(properties) == set(MaintenanceConfig.model_fields)
    assert all("description" in field for field in properties.values())

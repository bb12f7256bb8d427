"""The `silorec` command without a run: what goes in, what is said, how it ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from data_contracts.errors import LineageError, UsageError
from data_contracts.presets import PRESETS
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from flows import cli
from flows.cli_options import config_from, example_file, settings_of

PUBLIC = "data: {dataset: ml-100k}\n"


def config(*arguments: str) -> FederatedTrainingConfig:
    return config_from(cli.build_parser().parse_args(["check", *arguments]))


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def test_flags_win_over_the_file_and_the_file_over_the_preset(written):
    file = written("schedule: {rounds: 7}\nmodel: {context: 50}\n")
    chosen = config(file, "--dataset", "ml-1m", "--schedule.rounds", "3")
    assert chosen.schedule.rounds == 3
    assert chosen.model.context == 50
    assert chosen.schedule.patience == PRESETS["ml-1m"]["schedule"]["patience"]


FLAGS = {
    "a number": ("--local-training.learning-rate", "1e-3", 1e-3),
    "a switch": ("--evaluation.baselines", "false", False),
    "nothing": ("--model.init-from", "null", None),
    "a word": ("--local-training.optimizer", "sgd", "sgd"),
    "a tree": ("--cohort.compute.custom-resources", "{'silo:a': 2}", {"silo:a": 2}),
    "a list": ("--cohort.silos", "[{name: educator}]", None),
    "a word that is no YAML": ("--output-folder", "@runs", "@runs"),
}


@pytest.mark.parametrize(("flag", "text", "value"), FLAGS.values(), ids=FLAGS)
def test_a_flag_takes_what_the_file_would(flag, text, value):
    found: object = config("--dataset", "ml-100k", flag, text)
    for name in flag.removeprefix("--").replace("-", "_").split("."):
        found = getattr(found, name)
    if flag == "--cohort.silos":
        assert [silo.name for silo in found] == ["educator"]
    else:
        assert found == value


def test_every_setting_has_a_flag_whose_help_says_what_it_does_and_its_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for path, field in settings_of():
        flag = "--" + ".".join(path).replace("_", "-")
        assert flag in told
        assert " ".join(field.description.split()) in told, flag


@pytest.mark.parametrize("preset", PRESETS)
def test_the_example_file_of_a_preset_is_that_preset(preset):
    tree = yaml.safe_load(example_file(preset))
    assert tree == PRESETS[preset]
    assert parse_config(tree, origin="example") == parse_config(
        PRESETS[preset], origin="preset"
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_an_example_file_with_nothing_commented_out_means_the_same(preset):
    """Every default that the file shows is the default, and stands in its section."""
    names = {name for path, _ in settings_of() for name in path}
    setting = re.compile(rf"(?m)^( *)# ({'|'.join(names)}):")
    tree = yaml.safe_load(setting.sub(r"\1\2:", example_file(preset)))
    assert set(tree) == {path[0] for path, _ in settings_of()}
    assert parse_config(tree, origin="example") == parse_config(
        PRESETS[preset], origin="preset"
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_what_init_writes_passes_the_check(preset, tmp_path, capsys):
    path = str(tmp_path / "silorec.yaml")
    assert cli.main(["init", path, "--preset", preset]) == 0
    assert f"silorec check {path}" in capsys.readouterr().out
    assert cli.main(["check", path]) == 0
    told = capsys.readouterr().out
    assert told.startswith("valid: ")
    assert config(path).config_hash()[:12] in told


def test_init_replaces_a_file_only_by_force(written, capsys):
    path = written("mine")
    assert cli.main(["init", path]) == 2
    assert (
        "exists already; name another file or give --force" in capsys.readouterr().err
    )
    assert Path(path).read_text() == "mine"
    assert cli.main(["init", path, "--force"]) == 0
    assert Path(path).read_text() == example_file("ml-100k")


def test_init_into_a_missing_folder_earns_a_sentence(tmp_path, capsys):
    assert cli.main(["init", str(tmp_path / "gone" / "silorec.yaml")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


MISTAKES = {
    "in the file": (
        (),
        PUBLIC + "model: {dims: 8}",
        "run.yaml: model.dims: unknown key",
    ),
    "in a flag": (
        ("--schedule.rounds", "many"),
        PUBLIC,
        "run.yaml with flags: schedule.rounds: input should be a valid integer",
    ),
    "no YAML": ((), "data: [", "run.yaml: not valid YAML in line 1"),
}


@pytest.mark.parametrize(("flags", "text", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_ends_with_status_2_and_one_sentence(
    written, capsys, flags, text, sentence
):
    assert cli.main(["check", written(text), *flags]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("silorec: ")
    assert told.err.count("\n") == 1
    assert sentence in told.err


def test_a_mistake_in_a_flag_alone_is_said_of_the_command_line(capsys):
    assert cli.main(["check", "--dataset", "ml-100k", "--model.dim", "7"]) == 2
    assert "silorec: command line: model.dim: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", "--local-training.epochz", "2"],
        ["train", "--dataset", "ml-10k"],
        ["init", "--preset", "nobody"],
        ["lineage", "models"],
    ],
)
def test_a_command_that_does_not_parse_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: silorec" in capsys.readouterr().err


ENDS = {
    "done": (None, 0, ""),
    "the input": (UsageError("bring more data"), 2, "silorec: bring more data\n"),
    "the run": (LineageError("the disk is full"), 1, "silorec: the disk is full\n"),
    "the user": (KeyboardInterrupt(), 130, "silorec: interrupted\n"),
}


@pytest.mark.parametrize(("error", "status", "said"), ENDS.values(), ids=ENDS)
def test_the_exit_status_says_whose_fault_it_was(
    monkeypatch, capsys, error, status, said
):
    def command(arguments) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(cli, "check_config", command)
    assert cli.main(["check"]) == status
    assert capsys.readouterr().err == said


def test_a_bug_of_ours_is_not_dressed_up_as_a_sentence(monkeypatch):
    def command(arguments) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "check_config", command)
    with pytest.raises(ZeroDivisionError):
        cli.main(["check"])


@pytest.mark.parametrize(
    "arguments", [["report", "run-1"], ["lineage", "show", "abc"]], ids=" ".join
)
def test_asking_for_what_is_not_on_record_earns_a_sentence_and_leaves_no_trace(
    tmp_path, capsys, arguments
):
    assert cli.main([*arguments, "--output-folder", str(tmp_path)]) == 2
    assert f"starts with '{arguments[-1]}'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "said"), [([], "No run is recorded here yet.\n"), (["--json"], "[]\n")]
)
def test_an_empty_record_is_no_mistake(tmp_path, capsys, flags, said):
    assert cli.main(["lineage", "runs", "--output-folder", str(tmp_path), *flags]) == 0
    assert capsys.readouterr().out == said

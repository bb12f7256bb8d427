"""The documents are true of the code: commands parse, settings and files exist."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from data_contracts.errors import ConfigError
from data_contracts.expectations.snapshot import SnapshotFact
from data_contracts.presets import PRESETS, merged
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from flows import DEFAULTS
from flows.cli import build_parser
from flows.cli_options import config_from, example_config_from
from tasks.lineage.schema import TABLES

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "infra/docs/decisions"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("infra/docs/**/*.md"), *ROOT.glob("tasks/*/*.md")]
)
PACKAGES = ("flows", "tasks", "models", "data_contracts")
FOLDERS = (*PACKAGES, "tests", "infra")
# Names with a dot that are neither settings nor modules: files a run writes or reads.
FILE_NAMES = re.compile(r".*\.(jsonl?|py|md|ya?ml|toml|secret|csv|parquet|safetensors)")
OTHER_NAMES = {"items.weight"} | {f"snapshot.{fact}" for fact in SnapshotFact}


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language and its text."""

    language: str
    text: str


def fences_in(text: str) -> list[Fence]:
    """All fenced blocks, also those inside list items, without their indentation."""
    pattern = r"(?ms)^( *)```(\w*)\n(.*?)^\1```"
    return [
        Fence(language, re.sub(rf"(?m)^{indent}", "", body))
        for indent, language, body in re.findall(pattern, text)
    ]


def prose_of(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```", "", text)


def code_words(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", prose_of(text))


def typed_lines(text: str) -> list[str]:
    """Lines that a reader is told to type, without the prompt."""
    return [
        line.removeprefix("$ ").strip()
        for fence in fences_in(text)
        if fence.language == "console"
        for line in fence.text.splitlines()
    ]


def commands_in(text: str) -> list[str]:
    """Every `silorec ...` with arguments, typed or named; optional parts left out."""
    named = [re.sub(r" ?\[[^]]*\]", "", word) for word in code_words(text)]
    return [
        line for line in (*typed_lines(text), *named) if line.startswith("silorec ")
    ]


def complaint_about(command: str) -> str:
    """What is wrong with a command; empty if it parses and its settings are valid."""
    try:
        parsed = build_parser().parse_args(shlex.split(command)[1:])
    except SystemExit as end:
        return "" if end.code == 0 else "it does not parse"
    if "dataset" in parsed:
        # Its flags only: the file is the reader's, and a name alone has no silos.
        example = getattr(parsed, "example", None)
        parsed.config = None
        parsed.dataset = parsed.dataset or (None if example else "ml-100k")
        try:
            (example_config_from if example else config_from)(parsed)
        except ConfigError as error:
            return error.message
    return ""


def settings_below(model: object, path: list[str]) -> bool:
    """Whether the dotted path leads to a setting, through lists and optionals."""
    if not path:
        return True
    if isinstance(model, type) and issubclass(model, BaseModel):
        field = model.model_fields.get(path[0])
        return field is not None and settings_below(field.annotation, path[1:])
    return any(settings_below(inner, path) for inner in get_args(model))


def is_setting(word: str) -> bool:
    """Whether `section.key`, `list[].key` or `list[].<table>.key` exists."""
    path = word.replace("[]", "").replace("<table>", "interactions").split(".")
    return settings_below(FederatedTrainingConfig, path)


def is_known(word: str) -> bool:
    """Whether a word with dots is a setting, a module of ours, a file or a fact."""
    if word.split(".")[0] in PACKAGES:
        return importlib.util.find_spec(word.partition(":")[0]) is not None
    return is_setting(word) or word in OTHER_NAMES or bool(FILE_NAMES.fullmatch(word))


def paths_in(text: str) -> list[str]:
    """Paths inside the repository that stand in backticks."""
    folders = "|".join(map(re.escape, FOLDERS))
    return [w for w in code_words(text) if re.fullmatch(rf"({folders})/[\w./-]*", w)]


def links_in(text: str) -> list[str]:
    """Targets of links and pictures that lie in the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", prose_of(text))
    found = [one or other for one, other in targets]
    return [target for target in found if "://" not in target]


def anchors_of(text: str) -> set[str]:
    """The anchors that a renderer makes of headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose_of(text))
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"(?m)^([a-z-]+):", text))


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.fixture(params=DOCUMENTS, ids=name_of)
def document(request) -> Path:
    return request.param


@pytest.fixture
def text(document) -> str:
    return document.read_text("utf-8")


def test_the_documents_that_a_newcomer_needs_are_there():
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "infra/docs/operations.md",
        "infra/docs/threat_model.md",
        "infra/docs/privacy_and_data.md",
        "infra/docs/glossary.md",
        "infra/docs/benchmarks.md",
    } <= set(map(name_of, DOCUMENTS))


def test_every_command_parses_and_its_settings_are_valid(text):
    wrong = {c: why for c in commands_in(text) if (why := complaint_about(c))}
    assert wrong == {}


def test_every_command_there_is_stands_in_the_readme():
    parser = build_parser()
    (commands,) = (
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    readme = (ROOT / "README.md").read_text("utf-8")
    named = {command.split()[1] for command in commands_in(readme)}
    assert named == set(commands)


def test_every_make_target_exists(text):
    lines = [*typed_lines(text), *code_words(text)]
    named = {line.split()[1] for line in lines if re.match(r"make [a-z]", line)}
    assert named <= make_targets()


def test_every_link_leads_somewhere(document, text):
    for target in links_in(text):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors_of(file.read_text("utf-8")), target


def test_every_path_exists(text):
    assert [path for path in paths_in(text) if not (ROOT / path).exists()] == []


def test_every_word_with_a_dot_is_a_setting_a_module_or_a_file(text):
    dotted = [
        word
        for word in code_words(text)
        if re.fullmatch(r"[a-z_]+(\[\])?(\.(<table>|[a-z_]+(\[\])?))+(:\w+)?", word)
    ]
    assert [word for word in dotted if not is_known(word)] == []


def test_every_yaml_block_is_a_valid_configuration(text):
    for fence in fences_in(text):
        if fence.language == "yaml":
            tree = merged(PRESETS["own-tables"], yaml.safe_load(fence.text))
            parse_config(tree, origin="the document")


def test_every_python_block_compiles_and_imports_what_exists(text):
    for fence in fences_in(text):
        if fence.language == "python":
            for node in ast.walk(ast.parse(fence.text)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    ours = node.module.split(".")[0] in PACKAGES
                    assert not ours or importlib.util.find_spec(node.module)


def test_operations_names_every_switch_and_every_lineage_table():
    words = code_words((ROOT / "infra/docs/operations.md").read_text("utf-8"))
    assert set(DEFAULTS) | {table.name for table in TABLES} <= set(words)


def test_decisions_are_numbered_dated_and_listed():
    files = sorted(DECISIONS.glob("[0-9]*.md"))
    listed = (DECISIONS / "README.md").read_text("utf-8")
    for number, file in enumerate(files, start=1):
        first, _, dated, *_ = file.read_text("utf-8").splitlines()
        assert file.name.startswith(f"{number:04d}-")
        assert first.startswith(f"# {number:04d} ")
        assert re.match(r"\d{4}-\d\d-\d\d, \w+\.", dated)
        assert f"]({file.name})" in listed


@pytest.mark.parametrize(
    "command",
    [
        "silorec train --local-training.epochz 2",
        "silorec train silorec.yaml --local-training.epochs many",
        "silorec init --preset nobody",
        "silorec lineage",
        "silorec fly",
    ],
)
def test_the_check_sees_a_wrong_command(command):
    assert complaint_about(command)


@pytest.mark.parametrize(
    "word",
    ["cohort.min_silo", "local_trainig.epochs", "cohort.silos[].tables", "flows.tea"],
)
def test_the_check_sees_a_wrong_name(word):
    assert not is_known(word)


LIMIT = re.compile(
    r"^_?(?!SECONDS_PER)([A-Z_]*(?:SECONDS|HOURS|MINUTES))\b(?=[ ,:=])"
    r"|^    (\w*(?:seconds|hours|minutes)|retries|restarts|deadline_factor): \w+ = F",
    re.MULTILINE,
)


def test_one_page_names_every_timeout():
    told = set(code_words((ROOT / "infra/docs/timeouts.md").read_text("utf-8")))
    told = {word.rpartition(".")[2] for word in told}
    sources = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    found = {
        name
        for path in sources
        if path.parts[-2] not in {"reporting"}  # The pace of what is drawn.
        for match in LIMIT.findall(path.read_text("utf-8"))
        for name in match
        if name
    }
    assert len(found) > 15
    assert found <= told

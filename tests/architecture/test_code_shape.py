"""The shape of the code: small modules, short functions, nothing silenced unsaid."""

import ast
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_contracts", "flows", "models", "tasks")
PRODUCT = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
# Not this file: it quotes what it forbids.
TESTS = sorted({*(ROOT / "tests").rglob("*.py")} - {Path(__file__)})
TEXTS = [
    path
    for path in (*ROOT.glob("*"), *ROOT.glob("infra/**/*"), *PRODUCT, *TESTS)
    if path.suffix in {".md", ".py", ".toml", ".txt", ".yaml"}
    or path.stem == "Makefile"
]
MAX_MODULE, MAX_MEDIAN_MODULE, MAX_FUNCTION = 400, 200, 60

SILENCED = re.compile(r"#\s*(noqa|type:\s*ignore)(.*)")
WITH_REASON = re.compile(
    r"(: [A-Z]+\d+(, [A-Z]+\d+)*|\[[a-z-]+(, [a-z-]+)*\]) (- |# )\w"
)
# What means something at one desk only: folders of a machine, numbers of a tracker.
PRIVATE_WORDS = re.compile(
    r"(?<![\w.~}*])/(?:home|root|Users|work)/\w"
    r"|\b(?:issue|pull request|PR|ticket)s? #?\d+|\(#\d+\)",
    re.IGNORECASE,
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def long_functions(path: Path) -> list[str]:
    return [
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]


def silenced_without_reason(line: str) -> bool:
    found = SILENCED.search(line)
    return bool(found) and not WITH_REASON.match(found[2])


def test_modules_are_small():
    sizes = {named(path): len(lines_of(path)) for path in (*PRODUCT, *TESTS)}
    assert {name: n for name, n in sizes.items() if n > MAX_MODULE} == {}
    assert median(sizes[named(path)] for path in PRODUCT) <= MAX_MEDIAN_MODULE


def test_only_a_flow_is_a_long_function():
    long = {named(path): names for path in PRODUCT if (names := long_functions(path))}
    assert {name for name in long if not name.startswith("flows/")} == set()


def test_whatever_is_silenced_says_which_rule_and_why():
    unsaid = [
        f"{named(path)}:{number}"
        for path in (*PRODUCT, *TESTS)
        for number, line in enumerate(lines_of(path), start=1)
        if silenced_without_reason(line)
    ]
    assert unsaid == []


@pytest.mark.parametrize(
    ("comment", "unsaid"),
    [
        ("x = 1  # noqa", True),
        ("x = 1  # noqa: E501", True),
        ("x = 1  # noqa: E501 - a quotation", False),
        ("x = 1  # noqa: E501, S101 - a quotation", False),
        ("x = 1  # type: ignore", True),
        ("x = 1  # type: ignore[arg-type]", True),
        ("x = 1  # type: ignore[arg-type] # their stub is wrong", False),
        ("x = 1  # a comment", False),
    ],
)
def test_the_check_sees_an_unsaid_reason(comment, unsaid):
    assert silenced_without_reason(comment) is unsaid


def test_no_text_means_something_at_one_desk_only():
    told = [
        f"{named(path)}:{number}: {found[0]}"
        for path in TEXTS
        for number, line in enumerate(lines_of(path), start=1)
        if (found := PRIVATE_WORDS.search(line))
    ]
    assert told == []


@pytest.mark.parametrize(
    "line", ["see /home/ada/notes", "fixes issue #12", "as in (#7)", "PR 4083"]
)
def test_the_check_sees_a_private_word(line):
    assert PRIVATE_WORDS.search(line)

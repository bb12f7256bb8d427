"""Where things stand, who may import what, and what the wheel owns."""

import ast
import fnmatch
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"data_contracts", "flows", "models", "tasks"}
REQUIRED = PACKAGES | {"README.md", "infra", "pyproject.toml", "tests"}
OPTIONAL = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"}
TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
SLOW_TO_IMPORT = {"deltalake", "great_expectations", "prefect", "ray", "torch"}


def ignored_by_git(name: str) -> bool:
    patterns = (ROOT / ".gitignore").read_text("utf-8").split()
    return any(fnmatch.fnmatch(name, pattern.rstrip("/")) for pattern in patterns)


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints, told nothing about telemetry."""
    own = {name: v for name, v in os.environ.items() if name not in TELEMETRY}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=own | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory) -> set[str]:
    """What the wheel holds; built offline, and from a copy: building leaves traces."""
    copy = tmp_path_factory.mktemp("wheel") / "source"
    copy.mkdir()
    for name in (*REQUIRED, "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, copy)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", ".", "--no-deps",
            "--no-build-isolation", "--no-index", "--quiet",
            "--disable-pip-version-check", "--wheel-dir", "built",
        ],
        cwd=copy,
        check=True,
    )  # fmt: skip
    (wheel,) = (copy / "built").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_top_level_holds_what_was_agreed_and_nothing_else():
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    ours = {name for name in names if not ignored_by_git(name)}
    assert REQUIRED <= ours <= REQUIRED | OPTIONAL


def test_the_wheel_owns_exactly_our_four_packages(wheel_files):
    tops = {name.split("/")[0] for name in wheel_files}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_every_file_of_the_packages(wheel_files):
    files = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - wheel_files == set()


def test_all_import_rules_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    told = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout


def test_every_room_has_a_purpose():
    for room in (path for path in (ROOT / "tasks").iterdir() if path.is_dir()):
        if room.name != "__pycache__":
            assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def test_great_expectations_is_never_imported_with_a_module():
    """It costs 4 s: only a silo that validates shall pay them."""
    for path in (ROOT / "tasks").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "great_expectations" not in ast.unparse(node), path


def test_no_flow_file_hides_a_module_behind_its_own_name():
    """A path entrypoint puts `flows/` first on the module search path."""
    files = {path.stem for path in (ROOT / "flows").glob("*.py")}
    assert files & (PACKAGES | SLOW_TO_IMPORT | set(sys.stdlib_module_names)) == set()


def test_test_files_have_names_of_their_own_and_no_packages():
    files = [path.name for path in (ROOT / "tests").rglob("*.py")]
    twice = {name for name, times in Counter(files).items() if times > 1}
    assert twice <= {"conftest.py"}
    assert "__init__.py" not in files


def test_importing_flows_turns_telemetry_off():
    code = f"import flows, os; print([os.environ.get(n) for n in {list(TELEMETRY)}])"
    assert python(code) == str(list(TELEMETRY.values()))


def test_a_user_who_wants_telemetry_keeps_it():
    code = "import flows, os; print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    assert python(code, RAY_USAGE_STATS_ENABLED="1") == "1"


def test_the_command_answers_without_loading_a_framework():
    code = "import sys, flows.cli; flows.cli.build_parser(); print(*sys.modules)"
    assert set(python(code).split()) & SLOW_TO_IMPORT == set()

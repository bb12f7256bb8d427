"""Secrets come from the operating system: no other generator is even imported."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *sorted((ROOT / "tasks/secure_aggregation").glob("*.py")),
    ROOT / "models/fixed_point.py",
    ROOT / "data_contracts/secure_aggregation.py",
    ROOT / "data_contracts/mask_graph.py",
    ROOT / "models/digits.py",
    ROOT / "models/privacy/integer_noise.py",
    ROOT / "models/privacy/joint_noise.py",
]
BANNED_MODULES = {"random", "torch", "numpy.random"}
BANNED_ATTRIBUTES = {"random", "default_rng"}


def generators_in(source: str) -> list[str]:
    """Every import or use of a generator that is not cryptographic."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and node.attr in BANNED_ATTRIBUTES:
            found.append(ast.unparse(node))
            continue
        else:
            continue
        found += [
            name
            for name in names
            if any(name == ban or name.startswith(f"{ban}.") for ban in BANNED_MODULES)
        ]
    return found


def test_there_is_a_crypto_package_to_look_at():
    assert {"keys.py", "masking.py", "shamir.py", "client.py"} <= {
        path.name for path in SOURCES
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_other_generator_is_used(path):
    assert generators_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import randbytes",
        "import torch",
        "from torch import rand",
        "import numpy.random",
        "from numpy import random",
        "from numpy.random import default_rng",
        "import numpy as np\nnp.random.bytes(32)",
        "import numpy as np\nnp.random.default_rng(0)",
    ],
)
def test_the_check_sees(source):
    assert generators_in(source)


def test_secrets_come_from_the_operating_system_and_nowhere_else():
    callers = [
        path.name
        for path in SOURCES
        if re.search(r"import secrets|urandom|getrandom", path.read_text("utf-8"))
    ]
    assert callers == ["silo_side.py", "split_side.py"]

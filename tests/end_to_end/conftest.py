"""Runs of the installed command, each made once; several tests look at it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_contracts.settings.cohort import ComputeConfig, SiloConfig
from tests.simulators.command_line import Sandbox, sandbox
from tests.simulators.prefect_server import started_server
from tests.simulators.small_federation import small_tree
from tests.simulators.three_formats import three_formats

SERVER_SECONDS = 180.0

# What the newcomer changes in the file of `silorec init`, beside the silos.
EDITS = {
    "model": {"dim": 16, "blocks": 1, "context": 20, "dropout": 0.0},
    "local_training": {"epochs": 8, "batch_size": 16, "learning_rate": 0.02},
    "schedule": {"rounds": 2},
}


@dataclass(frozen=True)
class CommandRun:
    """What `silorec train` said, and where it ran."""

    sandbox: Sandbox
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def own_tables(tmp_path_factory) -> tuple[SiloConfig, ...]:
    """Three silos with their own tables."""
    return three_formats(tmp_path_factory.mktemp("own-tables"))


@pytest.fixture(scope="session")
def newcomer_run(own_tables):
    """init -> edit -> check -> train, with an empty home and no setting of Prefect."""
    with sandbox() as machine:
        began = machine.silorec("init", "--preset", "own-tables")
        assert began.returncode == 0, began.stderr
        file = machine.work / "silorec.yaml"
        file.write_text(edited(file.read_text("utf-8"), own_tables), "utf-8")
        checked = machine.silorec("check", "silorec.yaml")
        assert checked.returncode == 0, checked.stderr
        yield CommandRun(machine, machine.silorec("train", "silorec.yaml"))


def edited(text: str, silos: tuple[SiloConfig, ...]) -> str:
    """The example file after its user has been through it with an editor."""
    own = yaml.safe_dump(
        [silo.model_dump(mode="json", exclude_none=True) for silo in silos]
    )
    block = "".join(f"    {line}\n" for line in own.splitlines())
    text = re.sub(r"(?s)(\n  silos:\n).*?\n\n", lambda m: f"{m[1]}{block}\n", text)
    for section, settings in EDITS.items():
        head, found, body = text.partition(f"\n# {section}:\n")
        assert found
        for key, value in settings.items():
            body, times = re.subn(rf"  # {key}: .*", f"  {key}: {value}", body, count=1)
            assert times == 1
        text = f"{head}\n{section}:\n{body}"
    return text


@pytest.fixture(scope="session")
def deployed_server():
    """A server that nobody else tells anything."""
    with started_server() as server:
        yield server


@pytest.fixture(scope="session")
def deployed_run(own_tables, deployed_server, ray_cluster):
    """The same silos, each on its own Ray node; Prefect and Ray are found by address.

    No node offers two of the custom resources: the run can only end if every silo
    got its own node of the cluster.
    """
    silos = [
        silo.model_copy(update={"compute": ComputeConfig(custom_resources=wanted)})
        for silo in own_tables
        for wanted in [{f"silo:{silo.name}": 1}]
    ]
    with sandbox(PREFECT_API_URL=deployed_server.api) as machine:
        tree = small_tree(
            silos,
            machine.folder / "output",
            cluster={"ray_address": ray_cluster.address},
        )
        write_config(machine, tree)
        yield CommandRun(machine, machine.silorec("train", "run.yaml"))


def write_config(machine: Sandbox, tree: Mapping[str, Any]) -> Path:
    path = machine.work / "run.yaml"
    path.write_text(yaml.safe_dump(dict(tree)), "utf-8")
    return path

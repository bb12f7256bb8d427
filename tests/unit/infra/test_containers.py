"""The image and the local federation, as far as that can be checked without Docker."""

from __future__ import annotations

import importlib.resources
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from data_contracts.run_config import parse_config, read_config_file
from flows.deployments import WORK_POOL

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "infra/docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
TEXT = (DOCKER / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {
    name: service
    for name, service in SERVICES.items()
    if service["image"].startswith("silorec:")
}


def test_the_dockerfile_has_nothing_to_complain_about():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists() and not shutil.which("hadolint"):
        pytest.skip("hadolint has no wheel for this machine")
    found = subprocess.run(
        [hadolint if hadolint.exists() else "hadolint", DOCKER / "Dockerfile"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (0, "")


def test_torch_comes_first_and_in_the_version_of_the_constraints():
    pinned = re.search(
        r"(?m)^torch==(\S+)$", (ROOT / "infra/constraints.txt").read_text()
    )
    installed = re.findall(r"pip install (\S+)", DOCKERFILE)
    assert installed[0] == f"torch=={pinned[1]}"
    assert DOCKERFILE.count("-c infra/constraints.txt") == len(installed)


def test_the_image_runs_as_nobody_in_particular():
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"(?m)^USER 10001$", last_stage)
    assert last_stage.index("USER 10001") < last_stage.index("CMD")


def test_the_image_holds_all_our_packages_and_nothing_else_of_the_repository():
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE))
    assert copied == {
        "infra/constraints.txt", "pyproject.toml README.md LICENSE",
        "flows", "tasks", "models", "data_contracts",
    }  # fmt: skip
    sent = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert sent[0] == "*"
    assert {line[1:] for line in sent if line.startswith("!")} == {
        path for words in copied for path in words.split()
    }


def test_the_compose_file_fits_the_specification():
    schemas = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_nothing_is_published_beyond_this_machine():
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_silos_reach_nothing_but_the_ray_cluster():
    silos = {name: one for name, one in SERVICES.items() if name.startswith("silo-")}
    assert len(silos) == 3
    for silo in silos.values():
        assert silo["networks"] == ["federation"]
    assert COMPOSE["networks"]["federation"] == {"internal": True}


def test_no_process_of_ours_can_gain_rights():
    assert len(OURS) == 7
    for service in OURS.values():
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_every_secret_comes_from_the_environment_and_is_in_the_example():
    needed = set(re.findall(r"\$\{(\w+):\?", TEXT))
    example = (DOCKER / "example.env").read_text("utf-8")
    given = set(re.findall(r"(?m)^(\w+)=", example))
    assert {"POSTGRES_PASSWORD", "PREFECT_AUTH_STRING", "RAY_AUTH_TOKEN"} <= needed
    assert needed <= given
    assert "infra/docker/.env" in (ROOT / ".gitignore").read_text("utf-8")


def test_the_federation_has_the_silos_of_the_compose_file():
    config = parse_config(
        read_config_file(DOCKER / "federation.yaml"), origin="federation.yaml"
    )
    for silo in config.cohort.silos:
        assert SERVICES[f"silo-{silo.name}"]["environment"]["SILO"] == silo.name
        assert silo.compute.custom_resources == {f"silo:{silo.name}": 1}
    folder = SERVICES["metrics"]["command"][2]
    assert folder == config.output_folder


def test_every_file_that_is_mounted_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), source


def test_the_worker_serves_the_pool_that_deployments_name():
    assert f"--pool {WORK_POOL} " in SERVICES["coordinator"]["command"][-1]


def test_the_server_keeps_its_records_in_postgresql():
    environment = SERVICES["prefect-server"]["environment"]
    url = environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert url.startswith("postgresql+asyncpg://")
    assert environment["PREFECT_SERVER_API_AUTH_STRING"]

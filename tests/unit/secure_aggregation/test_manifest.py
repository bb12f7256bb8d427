"""Identities agreed without the coordinator: made, adopted, and believed alone."""

import json

import pytest

from data_contracts.errors import QuorumLostError
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution
from flows.cli import main
from tasks.secure_aggregation.manifest import (
    MANIFEST,
    adopt_manifest,
    identity_in,
    read_manifest,
)
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import integer_sum, random_inputs

SILOS = ("silo-1", "silo-2", "silo-3", "silo-4", "silo-5")


@pytest.fixture
def manifest(tmp_path):
    """The file that the five silos agreed on; nobody has adopted it yet."""
    keys = {s: identity_in(tmp_path / s).public.hex() for s in SILOS}
    path = tmp_path / "agreed.json"
    path.write_text(json.dumps({"silos": keys}))
    return path


def adopted(tmp_path, manifest, silos=SILOS):
    for silo in silos:
        adopt_manifest(tmp_path / silo, manifest)


def aggregate(tmp_path, manifest, round_number=1):
    inputs = random_inputs(5, 20)
    cohort = InProcessCohort(inputs, tmp_path)
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy()))
    config = SecureAggregationConfig(manifest=str(manifest) if manifest else None)
    summed = aggregate_securely.fn(
        cohort, "model update", round_number, config, min_silos=2
    )
    return inputs, summed


def test_silos_with_the_same_manifest_complete_a_sum(tmp_path, manifest):
    adopted(tmp_path, manifest)
    inputs, summed = aggregate(tmp_path, manifest)
    assert summed.total.tolist() == integer_sum(inputs)
    assert summed.contributors == SILOS


def test_a_manifest_is_the_same_whatever_its_order_and_spacing(tmp_path, manifest):
    listed = json.loads(manifest.read_text())["silos"]
    other = tmp_path / "other.json"
    turned = dict(reversed(listed.items()))
    other.write_text(json.dumps({"silos": turned}, indent=4))
    assert read_manifest(other).sha256 == read_manifest(manifest).sha256
    turned["silo-1"], turned["silo-2"] = turned["silo-2"], turned["silo-1"]
    other.write_text(json.dumps({"silos": turned}))
    assert read_manifest(other).sha256 != read_manifest(manifest).sha256


def test_an_impostor_is_found_out_at_the_very_first_meeting(tmp_path, manifest):
    """The relay answers for silo-3 with keys of its own before anybody met silo-3."""
    adopted(tmp_path, manifest)
    (tmp_path / "silo-3" / "identity.secret").write_bytes(b"m" * 32)
    with pytest.raises(QuorumLostError, match="silo-3 shows another identity"):
        aggregate(tmp_path, manifest)


def test_without_a_manifest_that_impostor_would_be_believed(tmp_path, manifest):
    (tmp_path / "silo-3" / "identity.secret").write_bytes(b"m" * 32)
    assert aggregate(tmp_path, None)[1].contributors == SILOS


def test_a_silo_takes_part_under_its_own_manifest_only(tmp_path, manifest):
    adopted(tmp_path, manifest)
    with pytest.raises(QuorumLostError, match="was offered terms of no manifest"):
        aggregate(tmp_path, None)


def test_a_silo_that_never_agreed_is_left_out_and_named(tmp_path, manifest):
    adopted(tmp_path, manifest, SILOS[:4])
    _, summed = aggregate(tmp_path, manifest)
    assert list(summed.dropped) == ["silo-5"]
    assert "holds no manifest and was offered" in summed.dropped["silo-5"].sentence


def test_a_member_that_is_not_in_the_manifest_stops_everybody(tmp_path, manifest):
    listed = json.loads(manifest.read_text())
    del listed["silos"]["silo-5"]
    manifest.write_text(json.dumps(listed))
    adopted(tmp_path, manifest, SILOS[:4])
    with pytest.raises(
        QuorumLostError, match="silo-5 is not in the manifest of silo silo-1"
    ):
        aggregate(tmp_path, manifest)


def test_a_damaged_manifest_is_a_sentence_and_no_fresh_start(tmp_path, manifest):
    adopted(tmp_path, manifest)
    (tmp_path / "silo-2" / MANIFEST).write_text("{")
    _, summed = aggregate(tmp_path, manifest)
    assert "is no manifest" in summed.dropped["silo-2"].sentence


def test_the_commands_make_print_and_adopt(tmp_path, capsys):
    lines = []
    for silo in ("north", "south"):
        assert main(["silo", "identity", str(tmp_path / silo)]) == 0
        lines.append(capsys.readouterr().out.strip())
    agreed = tmp_path / "agreed.json"
    agreed.write_text(f'{{"silos": {{{", ".join(lines)}}}}}')
    assert main(["silo", "adopt", str(tmp_path / "north"), str(agreed)]) == 0
    assert "takes part only with north, south" in capsys.readouterr().out
    agreed.write_text(f'{{"silos": {{{lines[0]}}}}}')
    assert main(["silo", "adopt", str(tmp_path / "north"), str(agreed)]) == 2
    assert "holds another manifest" in capsys.readouterr().err
    again = ["silo", "adopt", str(tmp_path / "north"), str(agreed), "--replace"]
    assert main(again) == 0
    assert main(["silo", "adopt", str(tmp_path / "south"), str(agreed)]) == 2
    assert "does not hold the identity" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"silos": {}}',
        '{"silos": {"north": "ab"}}',
        '{"silos": {"north": 7}}',
        '{"silos": ["north"]}',
    ],
)
def test_what_is_no_manifest_is_refused_in_a_sentence(tmp_path, capsys, text):
    path = tmp_path / "agreed.json"
    path.write_text(text)
    assert main(["silo", "adopt", str(tmp_path / "north"), str(path)]) == 2
    assert "is no manifest; write" in capsys.readouterr().err
    assert main(["silo", "adopt", str(tmp_path / "north"), str(tmp_path / "x")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_two_silos_with_one_key_are_refused(tmp_path, capsys):
    path, key = tmp_path / "agreed.json", "ab" * 32
    path.write_text(json.dumps({"silos": {"north": key, "south": key}}))
    assert main(["silo", "adopt", str(tmp_path / "north"), str(path)]) == 2
    assert "two silos the same identity" in capsys.readouterr().err

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.errors import LineageError
from tasks.lineage.model_card import model_card
from tasks.lineage.queries import history
from tasks.lineage.signatures import (
    KEY_FILE,
    card_path,
    publisher,
    sign_model,
    signature_path,
    verify_model,
)
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_run, model_record

VERSION = model_record("spring", 2, "", published=True)


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    sign_model(tmp_path, VERSION, "# card\n")
    return tmp_path


def test_what_the_publisher_signed_is_accepted(signed):
    verify_model(signed, VERSION, publisher(signed))


def test_the_key_is_made_once_and_is_for_its_owner_alone(signed):
    assert publisher(signed) == publisher(signed)
    assert stat.S_IMODE((signed / KEY_FILE).stat().st_mode) == 0o600
    assert len((signed / KEY_FILE).read_bytes()) == 32


def test_two_publishers_have_two_keys(signed, tmp_path):
    assert publisher(tmp_path / "other") != publisher(signed)


def refused(folder: Path, trusted: str = "") -> str:
    with pytest.raises(LineageError) as caught:
        verify_model(folder, VERSION, trusted or publisher(folder))
    return caught.value.message


def test_another_publisher_is_refused(signed, tmp_path):
    assert "not by the trusted publisher" in refused(
        signed, publisher(tmp_path / "other")
    )


def test_a_model_without_signature_is_refused(tmp_path):
    assert "has no signature" in refused(tmp_path)


def test_a_changed_card_is_refused(signed):
    card_path(signed, VERSION.sha256).write_text("# better card\n")
    assert "is not the one that was signed" in refused(signed)


@pytest.mark.parametrize(
    "field", ["model_sha256", "card_sha256", "federation", "run_id"]
)
def test_no_word_of_the_claim_can_be_changed(signed, field):
    path = signature_path(signed, VERSION.sha256)
    told = json.loads(path.read_bytes())
    told["claim"][field] = "0" * 64
    path.write_text(json.dumps(told))
    assert "does not verify" in refused(signed)


def test_a_signature_on_another_model_is_refused(signed):
    other = model_record("summer", 2, "", published=True)
    sign_model(signed, other, "# card\n")
    content = signature_path(signed, other.sha256).read_bytes()
    signature_path(signed, VERSION.sha256).write_bytes(content)
    assert "of another model" in refused(signed)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\x80\x04", b'{"claim": 1}', b" " * 100_000]
)
def test_what_is_no_signature_is_said_to_be_none(signed, content):
    signature_path(signed, VERSION.sha256).write_bytes(content)
    assert "is no signature that silorec wrote" in refused(signed)


def test_a_damaged_key_is_named(signed):
    (signed / KEY_FILE).write_bytes(b"short")
    with pytest.raises(LineageError, match="does not hold 32 bytes"):
        publisher(signed)


def test_a_card_tells_what_the_tables_tell(tmp_path):
    store = LineageStore(tmp_path)
    append_run(store, "spring", rounds=2, absent=("south",))
    told = history(store, "spring")
    card = model_card(told, told.models[-1])
    assert told.models[-1].sha256 in card
    assert "| north |" in card
    assert "3.50 of 8" in card


def test_a_card_without_privacy_says_so(tmp_path):
    store = LineageStore(tmp_path)
    append_run(store, "spring", rounds=1)
    told = replace(history(store, "spring"), privacy=())
    assert "No differential privacy" in model_card(told, told.models[-1])

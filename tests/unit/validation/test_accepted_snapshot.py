"""The accepted profile survives crashes and says what to do when spoilt."""

import os

import pytest

from data_contracts.errors import SiloError, SiloInputError
from tasks.validation.accepted_snapshot import FILE_NAME, read_accepted, write_accepted
from tasks.validation.profile import SnapshotProfile

PROFILE = SnapshotProfile(5, 3, 1, None, {"x": 3, "ÿ": 2})
OTHER = SnapshotProfile(6, 4, None, 0, {"x": 6})


def test_what_was_written_is_read(tmp_path):
    write_accepted(tmp_path / "new", PROFILE)
    assert read_accepted(tmp_path / "new") == PROFILE


def test_before_the_first_there_is_none(tmp_path):
    assert read_accepted(tmp_path) is None


@pytest.mark.parametrize("crashing", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_profile(tmp_path, monkeypatch, crashing):
    write_accepted(tmp_path, PROFILE)

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, crashing, crash)
    with pytest.raises(KeyboardInterrupt):
        write_accepted(tmp_path, OTHER)
    monkeypatch.undo()
    assert read_accepted(tmp_path) == PROFILE
    write_accepted(tmp_path, OTHER)
    assert read_accepted(tmp_path) == OTHER


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"CANARY",
        b"\xff\xfe",
        b"[]",
        b'{"interactions": "CANARY"}',
        b'{"interactions":5,"users":3,"unknown_item_rows":null,'
        b'"unknown_user_rows":null,"item_counts":{"CANARY":-1}}',
    ],
)
def test_a_spoilt_file_is_refused_with_the_way_out_and_no_content(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(SiloInputError, match=f"{FILE_NAME} .* delete that file") as it:
        read_accepted(tmp_path)
    assert "CANARY" not in it.value.message
    assert it.value.__suppress_context__


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SiloError, match=r"could not be written .* free space"):
        write_accepted(tmp_path / "file", PROFILE)

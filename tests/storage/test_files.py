"""A file or a folder that is written aside: whole under its name, or as it was."""

import errno
import os
from unittest.mock import Mock

import pytest

from helpers.storage import StorageError, read_json, write_aside
from tests.support import refused


def test_a_file_appears_whole_and_flushed(tmp_path, monkeypatch):
    path, synced, fsync = tmp_path / "plan.json", [], os.fsync
    path.write_bytes(b"old")
    (tmp_path / ".plan.json.unfinished").symlink_to(tmp_path / "elsewhere")  # a leftover is removed, not followed

    def remembering(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remembering)
    with write_aside(path) as file:
        file.write(b"new!")
        assert path.read_bytes() == b"old"
    assert synced[0] == (4, b"old") and synced[1][1] == b"new!"  # the file before its renaming, the folder after it
    assert path.read_bytes() == b"new!" and [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("failing", ["block", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch, failing):
    path = tmp_path / "plan.json"
    path.write_bytes(b"old")
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    if failing != "block":
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(StorageError, match=r"writing plan.json failed .No space.*make room"), write_aside(path) as file:
        file.write(b"half")
        if failing == "block":
            full()
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_errors_of_the_block_and_a_parent_that_has_gone(tmp_path):
    with pytest.raises(KeyError), write_aside(tmp_path / "a"):
        raise KeyError("mine")
    refused("mount the drive again", write_aside(tmp_path / "gone" / "a").__enter__, error=OSError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "plan.json is not JSON: Expecting"),
        (b"\xff", "is not JSON: 'utf-8' codec"),
        (b'{"a": 1, "a": 1}', "a key stands twice"),
        (b"[1, NaN]", "NaN is not JSON compliant"),
        (b"1e999", "too large"),
        (b"[" * 10**5, "nested too deep"),
        (b"[1]" + b" " * 100, "at most 100 bytes of JSON, got 103"),
    ],
)
def test_json_is_read_strictly_and_not_without_end(tmp_path, content, says):
    path = tmp_path / "plan.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 0.5}')  # Windows' mark at its start
    assert read_json(path) == {"a": 0.5}
    path.write_bytes(content)
    refused(says, read_json, path, *([100] if len(content) == 103 else []))

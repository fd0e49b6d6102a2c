"""A package's archive is taken with its published bytes only, and what it lacks is said."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tools import npm

FILES = {"package/es5/a.js": b"a", "package/es5/fonts/b.woff": b"b", "package/README.md": b"c"}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive that somebody has put into the cache."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    path = tmp_path / "npm" / "scope-thing-1.0.0.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as packed:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_chosen_files_come_out_and_stay(archive):
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    folder = npm.package("@scope/thing", "1.0.0", sha256, ["es5/fonts/", "README.md"])
    assert names(folder) == {"es5/fonts/b.woff", "README.md"}
    assert names(npm.package("@scope/thing", "1.0.0", sha256)) == {"es5/a.js", "es5/fonts/b.woff", "README.md"}
    archive.unlink()
    assert npm.package("@scope/thing", "1.0.0", sha256, ["es5/fonts/", "README.md"]) == folder


def test_other_bytes_are_refused_and_removed(archive):
    with pytest.raises(ValueError, match=r"not what was published: expected sha256 0+, got [0-9a-f]{64}"):
        npm.package("@scope/thing", "1.0.0", "0" * 64)
    assert not archive.exists()


def test_a_file_that_is_not_in_the_package_is_named(archive):
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"expected package/dist/x\.js in it"):
        npm.package("@scope/thing", "1.0.0", sha256, ["dist/x.js"])


def test_without_npm_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConnectionError, match=r"npm, which fetches it, is not installed\. Run again .* thing-1\.0\.0\.tgz"
    ):
        npm.package("thing", "1.0.0", "0" * 64)

"""The packages come once by npm, all bytes by their published sums; what goes wrong is said."""

import json
import os
from pathlib import Path

import pytest

from tests.support import refused
from tools import npm


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program on the path is an npm that notes what it is asked, and fails where a file says so."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "npm" / "npm"
    program.parent.mkdir()
    fails = "[ ! -e ../fails ] || { echo error: no network >&2; exit 1; }\n"
    program.write_text('#!/bin/sh\necho "$@" >> ../asked\n' + fails)
    program.chmod(0o755)
    (tmp_path / "npm" / "node_modules").mkdir()
    return tmp_path


def test_they_come_once_and_again_where_something_went_wrong(pretend, monkeypatch, capsys):
    refused("npm, which fetches", npm.packages, error=ConnectionError)
    monkeypatch.setenv("PATH", str(pretend / "npm"))
    (pretend / "fails").touch()
    refused(r"\(error: no network\)\. Run again with a network", npm.packages, error=ConnectionError)
    (pretend / "fails").unlink()
    assert capsys.readouterr().err == "npm fetches reveal.js and MathJax, once, in 180 s at most\n"
    assert npm.packages() == npm.packages() == pretend / "npm" / "node_modules"
    asked = (pretend / "asked").read_text().splitlines()
    assert len(asked) == 2 and asked[0].startswith("ci ") and "--ignore-scripts" in asked[0]
    (pretend / "npm" / "node_modules" / "whole.json").unlink()
    (pretend / "npm" / "npm").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setenv("PATH", f"{pretend / 'npm'}:{os.defpath}")
    monkeypatch.setattr(npm, "PATIENCE_S", 0.2)
    refused("npm did not bring them within 0.2 s: does the network answer", npm.packages, error=ConnectionError)


def test_versions_are_exact_and_each_has_its_sum():
    wanted, lock = (json.loads((npm.WANTED / name).read_text()) for name in ("package.json", "package-lock.json"))
    assert lock["packages"].pop("")["dependencies"] == wanted["dependencies"]
    found = {name.removeprefix("node_modules/"): about for name, about in lock["packages"].items()}
    assert {name: about["version"] for name, about in found.items()} == wanted["dependencies"]
    assert all(about["integrity"].startswith("sha512-") for about in found.values())

"""The memory tool: fresh processes measure what was predicted, and the record says on which machine."""

from __future__ import annotations

import json
import os
import platform

import pytest
import torch
from helpers.labs.budget._memory import CPU_LIBRARIES

from tools import memory as tool

TINY = {"vocab_size": 64, "context_length": 8, "emb_dim": 16, "n_layers": 1}
SHORT = {"vocab_size": 4096, "context_length": 128, "n_layers": 2}
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="freed memory is given back by glibc's switch"
)


@pytest.fixture(scope="module")
def libraries_bytes() -> int:
    """What a first update takes where the model is next to nothing; a build of torch with CUDA loads more."""
    return tool.run(tool.Setting("tiny", "1m", 1, TINY))


@needs_glibc
@pytest.mark.skipif(torch.version.cuda is not None, reason="the prediction knows torch's build for CPUs")
def test_libraries_take_what_was_assumed(libraries_bytes):
    assert libraries_bytes == pytest.approx(CPU_LIBRARIES, rel=0.2)  # other versions of torch may take more or less


@needs_glibc
@pytest.mark.parametrize(
    "setting",
    [
        tool.Setting("short", "1m", 64, SHORT),
        tool.Setting("short, squares", "1m", 64, SHORT, chunked_loss=False, fused_attention=False),
    ],
)
def test_a_fresh_process_holds_what_was_predicted(setting, libraries_bytes):
    predicted = setting.predicted("cpu").tensors_bytes
    assert predicted == pytest.approx(tool.run(setting) - libraries_bytes, rel=0.15)
    assert "MALLOC_MMAP_THRESHOLD_" not in os.environ


def test_the_command_writes_a_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "run", lambda setting, device, give_back: 2**28 if give_back else 2**29)
    path = tmp_path / "folder" / "record.json"
    assert tool.main(["--only", "1M", "--output", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["machine"]["torch"] and record["machine"]["device"] == "cpu"
    names = [row["name"] for row in record["rows"]]
    assert "1M" in names and "124M" not in names
    assert (record["rows"][0]["measured_bytes"], record["rows"][0]["measured_default_bytes"]) == (2**28, 2**29)
    assert "farthest off" in capsys.readouterr().out
    monkeypatch.delattr(tool, "run")
    assert tool.main(["--recorded", "--output", str(path)]) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == record


def test_a_process_that_fails_is_reported(monkeypatch):
    failed = {"status": "failed", "reason": "killed"}
    monkeypatch.setattr(tool, "run_worker", lambda *job: failed)
    with pytest.raises(RuntimeError, match="killed"):
        tool.run(tool.SETTINGS[0])


def test_settings_have_names_of_their_own():
    names = [setting.name for setting in tool.SETTINGS]
    assert len(set(names)) == len(names) >= 20
    assert max(tool.budget.parameter_count(s.config)["total"] for s in tool.SETTINGS) > 120e6

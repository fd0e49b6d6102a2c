"""The memory part of the benchmark: fresh processes measure what was predicted, and the record says where."""

import json
import os
import platform

import pytest
import torch

from helpers.labs import speed
from tests.support import refused
from tools.bench import __main__ as bench
from tools.bench import memory as tool

TINY = {"vocab_size": 64, "context_length": 8, "emb_dim": 16, "n_layers": 1}
SHORT = {"vocab_size": 4096, "context_length": 128, "n_layers": 2}
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's switch gives freed memory back")


@pytest.fixture(scope="module")
def libraries_bytes() -> int:
    """What a first update takes where the model is next to nothing; a build of torch with CUDA loads more."""
    return tool.peak_of(tool.Setting("tiny", "1m", 1, TINY), "cpu")


@needs_glibc
@pytest.mark.skipif(torch.version.cuda is not None, reason="the prediction knows torch's build for CPUs")
def test_libraries_take_what_was_assumed(libraries_bytes):
    assumed = tool.SETTINGS[0].predicted("cpu").overhead_bytes
    assert libraries_bytes == pytest.approx(assumed, rel=0.2)  # other versions of torch may take more


@needs_glibc
@pytest.mark.parametrize(
    "setting",
    [
        tool.Setting("short, dropout", "1m", 64, SHORT | {"drop_rate": 0.1}),
        tool.Setting("short, squares", "1m", 64, SHORT, chunked_loss=False, fused_attention=False),
    ],
)
def test_a_fresh_process_holds_what_was_predicted(setting, libraries_bytes):
    predicted = setting.predicted("cpu").tensors_bytes
    assert predicted == pytest.approx(tool.peak_of(setting, "cpu") - libraries_bytes, rel=0.15)
    assert "MALLOC_MMAP_THRESHOLD_" not in os.environ


def test_the_command_measures_some_and_predicts_others_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "folder" / "record.json"
    monkeypatch.setattr(speed.harness, "run", lambda function, job, threads, environment: {
        "status": "ok", "peak_bytes": 2**28 if environment else 2**29})  # fmt: skip
    assert bench.main(["--only", "memory", "--settings", "1M", "--output", str(path)]) == 0
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert "1M" in [row["name"] for row in rows] and "124M" not in [row["name"] for row in rows]
    assert rows[0]["measured_bytes"] == 2**28
    assert rows[0]["torch"] == torch.__version__ and rows[0]["chip"] and rows[0]["date"] >= "2026"
    assert "farthest off" in capsys.readouterr().out
    monkeypatch.setattr(speed.harness, "run", lambda *job: {"status": "failed", "reason": "killed"})
    assert bench.main(["--only", "memory", "--settings", "--output", str(path)]) == 0, "nothing is measured"
    assert json.loads(path.read_text(encoding="utf-8"))["rows"] == rows
    refused("killed", tool.peak_of, tool.SETTINGS[0], "cpu", error=RuntimeError)

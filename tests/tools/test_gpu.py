"""`python -m tools.gpu`, rehearsed: parts find what they look for, a failure is recorded, what is there is skipped."""

import json
import os
import select
import subprocess
import sys

import pytest
import torch

from helpers.storage import weights
from tests.support import faulty, refused
from tools import gpu


@pytest.mark.parametrize("name", ["parity", "resume", "t4"])
def test_a_part(name, tmp_path):
    found = gpu.work(name, True, tmp_path)
    assert found["ok"], found
    assert name != "t4" or (found["batch_size"], found["larger_ran_out"], found["scale"] > 1) == (4, None, True)


def test_a_model_that_is_not_theirs_is_found_and_a_part_that_breaks_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu.weights, "load", faulty(weights.load, 0.5))
    assert not gpu.work("parity", True, tmp_path)["ok"]
    monkeypatch.setattr(gpu, "sized", lambda *_: {}["shape"])
    assert gpu.work("resume", True, tmp_path) == {"ok": False, "reason": "KeyError: 'shape'"}


def test_failures_are_recorded_and_tried_again_and_what_is_there_is_skipped(tmp_path, monkeypatch, capsys):
    command = ["--rehearse", "--only", "resume", "--out", str(tmp_path)]
    monkeypatch.setitem(gpu.PARTS, "resume", (gpu.resume, 0.01))
    assert gpu.main(command) == 1 and "stopped after 0.01 s" in capsys.readouterr().out
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["resume"]["reason"] == "stopped after 0.01 s"
    monkeypatch.setitem(gpu.PARTS, "resume", (gpu.resume, 300))
    assert gpu.main(command) == 0
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["machine"]["device"] == "cpu" and len(record["parts"]["resume"]["losses"]) == 3
    monkeypatch.setattr("subprocess.Popen", None)
    assert gpu.main(command) == 0 and json.loads((tmp_path / "gpu.json").read_text()) == record
    (tmp_path / "gpu.json").write_text(json.dumps(record | {"machine": {"chip": "another", "torch": "7"}}))
    refused("", gpu.main, command, error=TypeError)  # it is tried


@pytest.mark.parametrize("small", [False, True])
def test_each_word_of_the_memory_part_is_in_one_settings_name(tmp_path, monkeypatch, small):
    words, names = [], [setting.name for setting in gpu.bench.memory_part.SETTINGS]
    monkeypatch.setattr(gpu.bench, "main", lambda given: words.extend(given[given.index("--settings") + 1 :]))
    (tmp_path / "memory_cpu.json").write_text('{"rows": []}')
    gpu.memory("cpu", small, tmp_path)
    assert words and all(sum(word in name for name in names) == 1 for word in words)


PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]], start_new_session=True)
"""
PART = """
import os, sys, threading, time
from tools import gpu
threading.Thread(target=gpu.speed.harness.end_with_parent, args=(os.getppid(),), daemon=True).start()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_part_ends_with_who_started_it():
    run = [sys.executable, "-c", PARENT, PART]
    with subprocess.Popen(run, cwd=gpu.ROOT, stdout=subprocess.PIPE, text=True) as parent:
        part = int(parent.stdout.readline())
        os.kill(part, 0)
        parent.kill()
        assert select.select([parent.stdout], [], [], 20)[0] and parent.stdout.read() == ""  # the part held it open


def test_all_parts_take_eight_minutes_at_most_and_need_a_gpu(monkeypatch, capsys):
    assert sum(seconds for _, seconds in gpu.PARTS.values()) <= 8 * 60
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused("", gpu.main, [], error=SystemExit)
    assert "--rehearse" in capsys.readouterr().err

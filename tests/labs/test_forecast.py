"""What a run says about its memory before it begins."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers import runtime
from helpers.gpt import GPTConfig, TrainConfig
from helpers.labs import budget, pretrain

CPU = torch.device("cpu")
MODEL = GPTConfig(50257, 32, 16, 2, 2)
PLAN = pretrain.Plan(MODEL, TrainConfig(4), batch_size=6)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_machine():
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert runtime.memory_bytes(CPU) == 1024 * int(total.split()[1])


def test_the_memory_of_a_gpu_and_of_what_is_not_known(monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: type("Properties", (), {"total_memory": 77})
    )
    assert runtime.memory_bytes(torch.device("cuda")) == 77
    assert (
        runtime.memory_bytes(torch.device("mps")) is None and pretrain.plan.forecast(PLAN, torch.device("mps")) is None
    )
    monkeypatch.delattr("os.sysconf_names")
    assert runtime.memory_bytes(CPU) is None and pretrain.plan.forecast(PLAN, CPU) is None


@pytest.mark.parametrize("micro, world_size, rows", [(None, 1, 6), (4, 1, 4), (None, 4, 2), (4, 4, 2), (1, 2, 1)])
def test_what_goes_through_at_once_counts(micro, world_size, rows, monkeypatch):
    monkeypatch.setattr(runtime, "memory_bytes", lambda device: 2**40)
    plan = replace(
        PLAN, train=replace(PLAN.train, micro_batch_size=micro, precision="bfloat16"), gradient_checkpointing=True
    )
    found = pretrain.plan.forecast(plan, CPU, world_size)
    assert found.peak_bytes == budget.memory(MODEL, rows, precision="bfloat16", gradient_checkpointing=True).peak_bytes
    assert found.fits and found.available_bytes == 2**40 // world_size
    on_a_gpu = pretrain.plan.forecast(plan, torch.device("cuda"), world_size)
    assert on_a_gpu.available_bytes == 2**40, "each rank has a GPU of its own"


@pytest.mark.parametrize(
    "room, said", [(2**40, "memory, predicted: fits:"), (2**20, "memory, predicted: does not fit")]
)
def test_the_command_says_it(room, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "memory_bytes", lambda device: room)
    text = tmp_path / "text.txt"
    text.write_text("\f".join(["The house on the hill was quiet when the rain fell over the garden. " * 6] * 6))
    sizes = ["emb_dim=8", "n_layers=1", "n_heads=2", "context_length=16", "batch_size=2", "n_steps=1"]
    command = ["--text", str(text), "--set", *sizes, "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert pretrain.main(command) == 0, "a prediction stops nobody"
    out, err = capsys.readouterr()
    assert said in (out if room == 2**40 else err) and (room == 2**40) == ("does not fit" not in err)

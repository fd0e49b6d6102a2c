"""What a run says about its memory before it begins."""

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
def test_the_memory_of_the_machine(monkeypatch):
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert runtime.memory_bytes(CPU) == 1024 * int(total.split()[1])
    card = type("Properties", (), {"total_memory": 77})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.delattr("os.sysconf_names")
    assert [runtime.memory_bytes(torch.device(name)) for name in ("cuda", "mps", "cpu")] == [77, None, None]
    assert [pretrain.plan.forecast(PLAN, torch.device(name)) for name in ("mps", "cpu")] == [None, None]


@pytest.mark.parametrize("micro, world_size, rows", [(None, 1, 6), (4, 1, 4), (None, 4, 2), (4, 4, 2), (1, 2, 1)])
def test_what_goes_through_at_once_counts(micro, world_size, rows, monkeypatch):
    monkeypatch.setattr(runtime, "memory_bytes", lambda device: 2**40)
    train = replace(PLAN.train, micro_batch_size=micro, precision="bfloat16")
    plan = replace(PLAN, train=train, gradient_checkpointing=True)
    found = pretrain.plan.forecast(plan, CPU, world_size)
    assert found.peak_bytes == budget.memory(MODEL, rows, precision="bfloat16", gradient_checkpointing=True).peak_bytes
    assert found.fits and found.available_bytes == 2**40 // world_size
    on_a_gpu = pretrain.plan.forecast(plan, torch.device("cuda"), world_size)
    assert on_a_gpu.available_bytes == 2**40, "each rank has a GPU of its own"


@pytest.mark.parametrize("room", [2**40, 2**20])
def test_the_command_says_it(room, train, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "memory_bytes", lambda device: room)
    done = train(tmp_path, change=("n_steps=1",))
    assert done.status == 0, "a prediction stops nobody"
    assert ("memory, predicted: fits:" in done.out) == (room == 2**40)
    assert ("memory, predicted: does not fit" in done.err) == (room == 2**20)

"""The command in processes of its own: signals, and several that train one model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers.gpt import Update
from helpers.labs import pretrain
from helpers.storage import checkpoint
from tests.labs.runs import ALONE, ROOT, TINY, command, free_ports, run, same_end, steps_in, timeless


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_process_saves_and_stops(text, tmp_path, number):
    change = ("n_steps=4000", "eval_every=None", "save_every=4000")
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.labs.pretrain", *command(text, tmp_path, change=change)],
        cwd=ROOT, env=ALONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: (tmp_path / "log.jsonl").exists() and len(timeless(tmp_path)) > 5, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number and err == ""
    first, step = steps_in(tmp_path / "checkpoints")
    assert first == 0 and f"stopped after step {step}; the same command goes on from there" in out
    assert 5 <= step < 4000 and len(timeless(tmp_path)) == step + 1


def wait_until(true, process: subprocess.Popen, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None and time.monotonic() < end, process.communicate(timeout=10)
        time.sleep(0.02)


def torchrun(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ALONE, capture_output=True, text=True, timeout=180)


UNEVEN = ("batch_size=5", "micro_batch_size=2", "drop_rate=0.0")  # shares of 3 and 2 rows, in pieces of 2 and 1


def test_two_processes_give_the_curve_of_one(text, tmp_path):
    done = torchrun("-m", "helpers.labs.pretrain", *command(text, tmp_path / "two", change=UNEVEN))
    assert done.returncode == 0, done.stderr
    assert run(text, tmp_path / "one", change=UNEVEN) == 0
    two, one = (pretrain.read_log(tmp_path / name / "log.jsonl") for name in ("two", "one"))
    assert [(type(r), r.step, r.n_tokens) for r in two] == [(type(r), r.step, r.n_tokens) for r in one]
    assert [r.loss_nats for r in two] == pytest.approx([r.loss_nats for r in one], rel=1e-5)
    grad_norms = [[r.grad_norm for r in records if isinstance(r, Update)] for records in (two, one)]
    assert grad_norms[0] == pytest.approx(grad_norms[1], rel=1e-3)
    assert done.stdout.count("done: 8 updates") == 1


SEVERAL = """
import os, pathlib, shutil, sys
from helpers.labs import pretrain
text, folder, ports, *options = sys.argv[1:]
folder, ports = pathlib.Path(folder), ports.split(",")
def run(out, *more, text=text):
    os.environ["MASTER_PORT"] = ports.pop()
    return pretrain.main(["--text", text, "--out", str(folder / out), *more, "--set", *options])
assert run("a", text="/nowhere.txt") == 2
assert run("file/a") == 2
assert run("a", "--config", "gpt2-124m", "--device", "abacus") == 2
options.append("batch_size=1")
assert run("a") == 2
options.remove("batch_size=1")
assert run("a") == 0
if os.environ["RANK"] == "0":
    shutil.copytree(folder / "a", folder / "b")
    for step in (4, 6, 8):
        shutil.rmtree(folder / "b" / "checkpoints" / f"step-{step:08d}")
assert run("b") == 0
"""


def test_two_processes_go_on_bit_for_bit_and_leave_together(text, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    change = ("batch_size=5", "keep=9")
    arguments = [sys.executable, "-c", SEVERAL, str(text), str(tmp_path), ",".join(free_ports(6)), *TINY, *change]
    shared = ALONE | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    both = [
        subprocess.Popen(
            arguments, cwd=ROOT, env=shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        (out, err), quiet = [process.communicate(timeout=100) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], err + quiet[1]
    assert quiet == ("", next(line for line in err.splitlines(keepends=True) if "abacus" in line))  # before they joined
    assert err.count("pretrain: ") == len(err.splitlines()) == 4, err
    assert "leaves some of 2 ranks without a sequence" in err and "going on from step 2" in out
    seeds = [torch.Generator() for _ in range(2)]
    for seed, rng in zip(seeds, checkpoint.find(tmp_path / "a" / "checkpoints").state.rng["ranks"], strict=True):
        seed.set_state(torch.tensor(list(bytes.fromhex(rng["torch"])), dtype=torch.uint8))
    assert [seed.initial_seed() for seed in seeds] == [0, 1]  # dropout differs between ranks
    assert same_end(tmp_path / "b", tmp_path / "a")
    assert run(text, tmp_path / "b", change=change) == 0  # one process takes over
    assert "saved by 2 ranks, now 1: dropout draws other numbers" in capsys.readouterr().err

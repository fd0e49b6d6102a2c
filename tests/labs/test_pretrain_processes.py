"""The command in processes of its own: signals, and several that train one model."""

import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers.storage import checkpoint
from tests.labs.runs import ALONE, ROOT, TINY, assert_same_curve, command, free_ports, run, same_end, steps_in, timeless


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_real_process_saves_and_stops(text, tmp_path, number):
    change = ("n_steps=4000", "eval_every=None", "save_every=4000")
    process = started("-m", "helpers.labs.pretrain", *command(text, tmp_path, change=change))
    try:
        end = time.monotonic() + 90
        while not (tmp_path / "log.jsonl").exists() or len(timeless(tmp_path)) <= 5:
            assert process.poll() is None and time.monotonic() < end, process.communicate(timeout=10)
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number and err == ""
    first, step = steps_in(tmp_path / "checkpoints")
    assert first == 0 and f"stopped after step {step}; the same command goes on from there" in out
    assert 5 <= step < 4000 and len(timeless(tmp_path)) == step + 1


def started(*arguments: str, **variables: str) -> subprocess.Popen:
    pipe = subprocess.PIPE
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=ALONE | variables, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_without_a_terminal_s_streams_a_run_trains_all_the_same(text, whole, tmp_path, closed):
    process = [sys.executable, "-m", "helpers.labs.pretrain", *command(text, tmp_path / "out")]
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *process], cwd=ROOT, env=ALONE, capture_output=True)
    assert done.returncode == 0 and same_end(tmp_path / "out", whole)


UNEVEN = ("batch_size=5", "micro_batch_size=2", "drop_rate=0.0")  # shares of 3 and 2 rows, in pieces of 2 and 1


def test_two_processes_give_the_curve_of_one(text, tmp_path):
    ranks = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "helpers.labs.pretrain")
    process = started("-m", *ranks, *command(text, tmp_path / "two", change=UNEVEN))
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert run(text, tmp_path / "one", change=UNEVEN) == 0
    assert_same_curve(tmp_path / "two", tmp_path / "one")
    assert out.count("done: 8 updates") == 1


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


ENDS = """
import os, sys
from helpers.labs import pretrain
text, out, how, *options = sys.argv[1:]
def ends(record):
    if os.environ["RANK"] == "1" and record.step == 3:
        if how == "killed":
            os._exit(9)
        raise MemoryError
sys.exit(pretrain.main(["--text", text, "--out", out, "--set", *options], after_record=ends))
"""


@pytest.mark.parametrize("how", ["killed", "memory"])
def test_where_one_of_two_processes_ends_each_says_why_in_a_line(text, train, tmp_path, how):
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_ports(1)[0]}
    arguments = ["-c", ENDS, str(text), str(tmp_path / "a"), how, *TINY, "batch_size=4"]
    left, killed = [started(*arguments, RANK=rank, LOCAL_RANK=rank, **shared) for rank in "01"]
    try:
        (_, said), (_, of_killed) = left.communicate(timeout=100), killed.communicate(timeout=100)
    finally:
        left.kill(), killed.kill()
    assert left.returncode == 1 and killed.returncode == (9 if how == "killed" else 1)
    assert how == "killed" or of_killed.startswith("pretrain: rank 1: out of memory (MemoryError). The same command")
    assert (
        said.startswith("pretrain: rank 0: another process has ended or cannot be reached ([") and said.count("\n") == 1
    )
    assert said.endswith("); the same command goes on\n")
    assert steps_in(tmp_path / "a" / "checkpoints")[-1] == 2


def test_two_processes_go_on_bit_for_bit_and_leave_together(text, train, tmp_path):
    (tmp_path / "file").write_text("")
    change = ("batch_size=5", "keep=9")
    arguments = ["-c", SEVERAL, str(text), str(tmp_path), ",".join(free_ports(6)), *TINY, *change]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    both = [started(*arguments, RANK=rank, LOCAL_RANK=rank, **shared) for rank in "01"]
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
    done = train(tmp_path / "b", change=change)  # one process takes over
    assert done.status == 0 and "ranks 2, now 1: the run goes on, and not bit for bit" in done.err

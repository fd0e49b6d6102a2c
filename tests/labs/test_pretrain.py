"""The command: a run that was interrupted, in whatever way, ends as if it had not been; what is wrong is said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from helpers import runtime
from helpers.gpt import Evaluation, GPTConfig, TrainConfig, TransformerBlock, Update, tokenizer
from helpers.labs import pretrain
from helpers.storage import checkpoint, open_ids

ROOT = Path(__file__).resolve().parents[2]
N_STEPS = 8
TINY = ["emb_dim=8", "n_layers=1", "n_heads=2", "context_length=16", "drop_rate=0.1", "batch_size=4"]
TINY += ["learning_rate=0.01", "eval_every=3", "save_every=2", f"n_steps={N_STEPS}"]
WEIGHTS = "model/model.safetensors"


class Kill(BaseException):
    """Stands for SIGKILL where the process has to live on to look at what it left."""


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    words = ["the", "house", "on", "hill", "was", "quiet", "when", "rain", "fell", "over", "garden", "walls", "again"]
    draw = random.Random(3)
    documents = ["".join(" " + draw.choice(words) for _ in range(90)) for _ in range(6)]
    path = tmp_path_factory.mktemp("text") / "six.txt"
    path.write_text("\f".join(documents), encoding="utf-8")
    return path


def command(text: Path, out: Path, *more: str, change: tuple[str, ...] = ()) -> list[str]:
    return ["--text", str(text), "--set", *TINY, *change, "--out", str(out), "--device", "cpu", *more]


def run(text: Path, out: Path, *more: str, change: tuple[str, ...] = (), after=None) -> int:
    return pretrain.main(command(text, out, *more, change=change), after)


def timeless(out: Path) -> list[str]:
    """The log's lines as they stand, without their seconds."""
    lines = (out / "log.jsonl").read_text().splitlines()
    return [line[: line.index(', "seconds"')] for line in lines]


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory) -> Path:
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(text, out) == 0
    return out


def same_end(out: Path, whole: Path) -> bool:
    files = (WEIGHTS, "best/model.safetensors")
    return all((out / f).read_bytes() == (whole / f).read_bytes() for f in files) and timeless(out) == timeless(whole)


def at_record(n: int, act):
    """`act` is called after the n-th record from now has been written to the log."""
    seen = []

    def after(record) -> None:
        seen.append(record)
        if len(seen) == n:
            act()

    return after


def kill() -> None:
    raise Kill


def killed(n: int, text: Path, out: Path, *more: str, change: tuple[str, ...] = ()) -> None:
    with pytest.raises(Kill):
        run(text, out, *more, change=change, after=at_record(n, kill))


def test_a_run_leaves_what_is_promised(whole, text):
    assert steps_in(whole / "checkpoints") == [6, 8]
    assert {path.name for path in whole.iterdir()} == {".lock", "best", "checkpoints", "ids", "log.jsonl", "model"}
    records = pretrain.read_log(whole / "log.jsonl")
    assert [r.step for r in records if isinstance(r, Update)] == list(range(N_STEPS))
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 3, 6, 8]
    final = checkpoint.load_model(whole / "model")
    assert final.extra == {"step": N_STEPS, "n_tokens": N_STEPS * 4 * 16}
    assert final.config["emb_dim"] == 8
    best = checkpoint.load_model(whole / "best").extra["loss_nats"]
    assert best == min(r.loss_nats for r in records if isinstance(r, Evaluation))
    ids = [open_ids(whole / "ids" / f"{name}.npy") for name in ("train", "validation")]
    decoded = "".join(tokenizer.gpt2().decode(part.tolist()) for part in ids).split("<|endoftext|>")[:-1]
    assert sorted(decoded) == sorted(part.strip() for part in text.read_text().split("\f"))


@pytest.mark.parametrize("n", [1, 2, 4, 5, 8, 11, 12])
def test_killed_after_any_record_it_ends_the_same(text, whole, tmp_path, n):
    killed(n, text, tmp_path)
    assert run(text, tmp_path) == 0
    assert same_end(tmp_path, whole)


def test_a_finished_run_run_again_changes_nothing(text, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    assert run(text, tmp_path / "out") == 0
    assert same_end(tmp_path / "out", whole)


def test_the_best_weights_are_remembered(text, tmp_path):
    change = ("learning_rate=3.0",)  # it gets worse from the first update on
    killed(6, text, tmp_path, change=change)
    assert run(text, tmp_path, change=change) == 0
    assert checkpoint.load_model(tmp_path / "best").extra["step"] == 0


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("lose", "says"),
    [
        (shutil.rmtree, "best is gone: the next evaluation counts"),
        (lambda best: cut(best / "model.safetensors"), "best is damaged (model.safetensors is not the file that was"),
        (lambda best: checkpoint.save_model(best, {"w": torch.ones(1)}, {}), "best is damaged ('loss_nats')"),
    ],
)
def test_best_weights_that_are_gone_or_damaged_are_found_anew(text, tmp_path, capsys, lose, says, finished):
    change = ("learning_rate=3.0",)  # nothing that comes will beat what was lost
    run(text, tmp_path, change=change) if finished else killed(6, text, tmp_path, change=change)
    lose(tmp_path / "best")
    assert run(text, tmp_path, change=change) == 0
    assert says in capsys.readouterr().err
    assert checkpoint.load_model(tmp_path / "best").extra["step"] > 0


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_checkpoints_that_are_lost_are_no_beginning(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "checkpoints")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert run(text, out) == 2
    assert "log.jsonl knows 8 updates, and no checkpoint of them is there" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("rng", "{}", "rng.ranks is missing"),
        ("rng", '{"ranks": [{}]}', "capture_rng gives"),
        ("rng", '{"ranks": 5}', "rng.ranks is 5"),
        ("data", "{}", "data.n_tokens is missing"),
        ("data", '{"n_tokens": -1}', "data.n_tokens is -1"),
        ("extra", "{}", "extra.best_loss is missing"),
        ("extra", '{"best_loss": "low"}', "extra.best_loss is 'low'"),
        ("extra", '{"best_loss": NaN}', "state.json is not the JSON that was written"),
        ("extra", '{"best_loss": 1e999}', "state.json is not the JSON that was written"),
        ("config", '{"train": 5}', "config.train.precision is missing"),
        ("optimizer", "null", "optimizer is None"),
    ],
)
def test_a_signed_state_that_no_run_can_go_on_from(text, whole, tmp_path, capsys, part, value, says):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for path in (out / "checkpoints").iterdir():
        forge(path, part, value)
    assert run(text, out) == 2 and says in capsys.readouterr().err


def forge(path: Path, part: str, value: str) -> None:
    """Whoever signs anew can write what he likes: `value` is JSON as it stands in the file."""
    state = path / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {part: "here"}).replace('"here"', value))
    sums = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in sorted(path.glob("[mos]*"))]
    (path / "SHA256SUMS").write_text("".join(sums))


@pytest.mark.parametrize("error", [checkpoint.StorageError, ValueError])
@pytest.mark.parametrize("failing", [6, 8])
def test_best_weights_that_could_not_be_written_are_no_best(text, tmp_path, monkeypatch, capsys, failing, error):
    save, full = checkpoint.save_model, [True]

    def fail_once(folder, model, config, said):
        if folder.name == "best" and said["step"] == failing and full:
            raise error(f"disk {full.pop() and 'full'}")
        save(folder, model, config, said)

    monkeypatch.setattr(checkpoint, "save_model", fail_once)
    status = run(text, tmp_path)
    losses = {r.step: r.loss_nats for r in pretrain.read_log(tmp_path / "log.jsonl") if isinstance(r, Evaluation)}
    assert losses[8] < losses[6] < losses[3] and not full
    if failing == 8:  # no later one takes its place
        assert status == 1 and "best is not of the lowest loss" in capsys.readouterr().err
        assert checkpoint.load_model(tmp_path / "best").extra["step"] == 6
        assert checkpoint.find(tmp_path / "checkpoints").state.extra["best_loss"] == losses[6]
        status = run(text, tmp_path)
    assert status == 0 and checkpoint.load_model(tmp_path / "best").extra["loss_nats"] == losses[8]


def test_a_run_keeps_its_precision_on_another_card(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "pick_precision", lambda device: torch.float16)
    assert run(text, tmp_path / "a") == 0
    assert run(text, tmp_path / "b", "--minutes", "1e-9") == 0
    monkeypatch.setattr(runtime, "pick_precision", lambda device: torch.bfloat16)
    assert run(text, tmp_path / "b") == 0
    assert "the run goes on in float16, as it began; this device would take bfloat16" in capsys.readouterr().err
    assert same_end(tmp_path / "b", tmp_path / "a")
    assert run(text, tmp_path / "b", change=("precision=bfloat16",)) == 2  # asked for
    assert "train.precision: 'float16' there, 'bfloat16' here" in capsys.readouterr().err


def test_float16_goes_on_with_its_scaler(text, tmp_path, capsys):
    change = ("precision=float16", "n_steps=5")
    assert run(text, tmp_path / "a", change=change) == 0
    killed(6, text, tmp_path / "b", change=change)
    state = checkpoint.find(tmp_path / "b" / "checkpoints").state
    assert state.scaler["_growth_tracker"] == state.step
    assert run(text, tmp_path / "b", change=change) == 0
    assert same_end(tmp_path / "b", tmp_path / "a")
    ends = [checkpoint.find(tmp_path / name / "checkpoints").state for name in "ab"]
    assert ends[0].scaler == ends[1].scaler and ends[0].scaler["_growth_tracker"] == 5
    for path in (tmp_path / "b" / "checkpoints").iterdir():
        forge(path, "scaler", '{"scale": 2.0}')
    assert run(text, tmp_path / "b", change=change) == 2 and "its scaler's state" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(text, whole, tmp_path, capsys, number):
    before = signal.getsignal(number)
    after = at_record(5, lambda: os.kill(os.getpid(), number))  # after update 2: no checkpoint is due
    assert run(text, tmp_path, after=after) == 128 + number
    assert signal.getsignal(number) is before
    assert "stopped after step 3; the same command goes on" in capsys.readouterr().out
    assert steps_in(tmp_path / "checkpoints") == [2, 3]
    assert run(text, tmp_path) == 0
    assert "going on from step 3" in capsys.readouterr().out
    assert same_end(tmp_path, whole)


@pytest.mark.parametrize("n", [11, 12])  # after the last update, and after the evaluation that follows it
def test_a_signal_at_the_very_end_comes_too_late(text, whole, tmp_path, n):
    after = at_record(n, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run(text, tmp_path, after=after) == 0
    assert same_end(tmp_path, whole)


def test_a_second_signal_ends_at_once():
    with pretrain.stop.listening() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and asked == [signal.SIGTERM]


def test_minutes_save_and_stop(text, whole, tmp_path, capsys):
    assert run(text, tmp_path, "--minutes", "1e-9") == 0
    assert steps_in(tmp_path / "checkpoints") == [0] and "stopped after step 0" in capsys.readouterr().out
    assert run(text, tmp_path, "--minutes", "60") == 0
    assert same_end(tmp_path, whole)
    assert run(text, tmp_path, "--minutes", "-1") == 2 and "above 0, got -1" in capsys.readouterr().err


def test_activation_checkpointing_may_be_switched_on_at_any_time(text, whole, tmp_path, monkeypatch):
    """Blocks are passed through twice, and no bit of the run changes."""
    passes, forward = [], TransformerBlock.forward

    def counted(self, *given):
        passes.append(torch.is_grad_enabled())
        return forward(self, *given)

    monkeypatch.setattr(TransformerBlock, "forward", counted)
    assert run(text, tmp_path / "a", change=("gradient_checkpointing=true",)) == 0
    assert sum(passes) == 2 * N_STEPS and same_end(tmp_path / "a", whole)
    shutil.copytree(whole, tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "step-00000008")
    passes.clear()
    assert run(text, tmp_path / "b", change=("gradient_checkpointing=true",)) == 0  # not another run
    assert sum(passes) == 2 * 2 and same_end(tmp_path / "b", whole)
    assert (
        checkpoint.find(tmp_path / "b" / "checkpoints").state.config
        == checkpoint.find(whole / "checkpoints").state.config
    )


def test_another_plan_or_text_in_the_same_folder_is_refused(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    other = tmp_path / "other.txt"
    other.write_text(text.read_text().replace("rain", "snow"))
    assert run(text, out, change=("learning_rate=0.02", "seed=1")) == 2
    said = capsys.readouterr().err
    assert "seed: 0 there, 1 here" in said and "train.learning_rate: 0.01 there, 0.02 here" in said
    assert run(other, out) == 2
    assert "texts: " in capsys.readouterr().err
    assert run(text, out, "--validation", str(text)) == 2
    assert "n_validation_files: 0 there, 1 here" in capsys.readouterr().err
    assert run(text, out) == 0 and same_end(out, whole)  # ids of the refused runs are not taken for this one's


def test_a_run_is_extended_and_keeps_what_it_was_told_anew(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    assert run(text, out, change=("n_steps=12", "keep=1", "save_every=5")) == 0
    done = capsys.readouterr()
    assert "n_steps was 8 and is 12: the run is extended" in done.err and "going on from step 8" in done.out
    assert steps_in(out / "checkpoints") == [12]
    records = pretrain.read_log(out / "log.jsonl")
    assert [r.step for r in records if isinstance(r, Update)] == [*range(12)]
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 3, 6, 8, 9, 12]
    assert run(text, out) == 2 and "train.n_steps: 12 there, 8 here" in capsys.readouterr().err
    assert run(text, out, change=("n_steps=12",)) == 0 and "extended" not in capsys.readouterr().err


def test_other_surroundings_are_said(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    try:
        assert run(text, out, "--threads", "3") == 0 and torch.get_num_threads() == 3
    finally:
        runtime.start()
    assert (
        f"saved with threads {torch.get_num_threads()}, now 3: the run goes on, and not bit" in capsys.readouterr().err
    )
    for path in (out / "checkpoints").iterdir():
        forge(path, "versions", '{"torch": "2.0.1"}')
    assert run(text, out) == 0
    assert f"saved with torch 2.0.1, now {torch.__version__}: the run goes on" in capsys.readouterr().err


def damage(checkpoint_folder: Path) -> None:
    path = checkpoint_folder / "model.safetensors"
    values = bytearray(path.read_bytes())
    values[-1] ^= 1
    path.write_bytes(values)


def test_a_damaged_checkpoint_is_passed_over_and_only_damaged_ones_are_no_beginning(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    damage(out / "checkpoints" / "step-00000008")
    assert run(text, out) == 0
    done = capsys.readouterr()
    assert "step-00000008 is passed over" in done.err and "going on from step 6" in done.out
    assert same_end(out, whole)
    for path in (out / "checkpoints").iterdir():
        damage(path)
    log = (out / "log.jsonl").read_bytes()
    assert run(text, out) == 2
    assert "no good checkpoint under" in capsys.readouterr().err
    assert (out / "log.jsonl").read_bytes() == log


def test_a_second_folder_is_enough_to_go_on_from(text, whole, tmp_path, capsys):
    also = tmp_path / "drive" / "run"
    also.parent.mkdir()
    killed(8, text, tmp_path / "a", "--also", str(also))  # after update 5, before step 6 is saved
    assert steps_in(also) == steps_in(tmp_path / "a" / "checkpoints") == [2, 4]
    shutil.rmtree(tmp_path / "a" / "checkpoints" / "step-00000004")  # this one is behind
    assert run(text, tmp_path / "a", "--also", str(also)) == 0
    assert f"going on from step 4 ({also}" in capsys.readouterr().out and same_end(tmp_path / "a", whole)
    assert run(text, tmp_path / "b", "--also", str(also)) == 0  # another machine
    assert "log.jsonl knows 0 of 8 updates" in capsys.readouterr().err
    assert (tmp_path / "b" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_drive_that_vanishes_is_warned_of_and_training_goes_on(text, whole, tmp_path, capsys):
    drive = tmp_path / "drive"
    drive.mkdir()
    after = at_record(6, lambda: shutil.rmtree(drive))
    assert run(text, tmp_path / "out", "--also", str(drive / "run"), after=after) == 0
    said = capsys.readouterr().err
    for step in (4, 6, 8):
        assert f"step {step} was not saved to {drive / 'run'}" in said
    assert said.splitlines()[-1].startswith("warning, again (3 times, this is the last): step 8 was not saved")
    assert not drive.exists() and same_end(tmp_path / "out", whole)


def test_a_drive_that_is_not_there_when_going_on(text, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "out")
    missing = str(tmp_path / "drive" / "run")
    assert run(text, tmp_path / "out", "--also", missing) == 0
    said = capsys.readouterr()
    assert f"{missing}: looking for checkpoints failed" in said.err and "going on from step 8" in said.out
    assert said.err.splitlines()[-1].endswith("which may hold its checkpoints: if so, stop it and mount")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "checkpoints").write_text("a file stands here")
    assert run(text, tmp_path / "blocked", "--also", missing) == 2
    assert "no folder for checkpoints can be reached" in capsys.readouterr().err


def test_a_folder_on_a_drive_that_has_gone_is_no_beginning(text, tmp_path, capsys):
    drive = tmp_path / "drive"
    drive.mkdir()
    assert run(text, drive / "run", "--minutes", "1e-9") == 0
    drive.rename(tmp_path / "unmounted")
    assert run(text, drive / "run") == 2
    assert f"{drive} is not there: mount the drive, or make it first" in capsys.readouterr().err
    assert not drive.exists()


def test_a_folder_that_is_behind_is_caught_up(text, whole, tmp_path, capsys):
    also, out = tmp_path / "drive", tmp_path / "out"
    killed(4, text, out, "--also", str(also))
    shutil.rmtree(also / "step-00000002")
    assert run(text, out) == 0  # the drive is away
    assert steps_in(also) == [0] and run(text, out, "--also", str(also)) == 0
    assert steps_in(also) == [0, 8] and same_end(out, whole)
    shutil.rmtree(out / "checkpoints")
    assert run(text, out, "--also", str(also)) == 0 and steps_in(out / "checkpoints") == [8]


@pytest.mark.parametrize("place", ["", "checkpoints", "a/b", "link"])
def test_a_second_folder_in_the_first_is_none(text, tmp_path, capsys, place):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "out")
    assert run(text, tmp_path / "out", "--also", str(tmp_path / "out" / place)) == 2
    assert "is inside --out" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".lock", "log.jsonl", "ids/train.npy", "ids/made_from.json", "best/SHA256SUMS"])
def test_links_and_pipes_in_a_folder_from_elsewhere(text, whole, tmp_path, name):
    """None is written through, none is waited for."""
    (theirs := tmp_path / "theirs").write_text("mine")
    for make in (lambda path: path.symlink_to(theirs), lambda path: path.symlink_to(tmp_path / "new"), os.mkfifo):
        shutil.copytree(whole, tmp_path / "out", dirs_exist_ok=True)
        (tmp_path / "out" / name).unlink()
        make(tmp_path / "out" / name)
        status = run(text, tmp_path / "out")
        assert status == (2 if name == ".lock" else 0) and theirs.read_text() == "mine"
        shutil.rmtree(tmp_path / "out")
    assert not (tmp_path / "new").exists()


def test_a_link_where_the_second_folders_lock_should_be(text, tmp_path, capsys):
    (also := tmp_path / "also").mkdir()
    (also / ".lock").symlink_to(tmp_path / "new")
    assert run(text, tmp_path / "out", "--also", str(also)) == 2
    assert f"--also: {also} cannot be written ([Errno" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_log_that_cannot_be_read(text, tmp_path, monkeypatch, capsys):
    (tmp_path / "log.jsonl").mkdir()
    monkeypatch.setattr(Path, "is_file", lambda path: path.exists())
    assert run(text, tmp_path) == 2 and "log.jsonl cannot be read" in capsys.readouterr().err


def test_files_of_others_stop_nothing(text, whole, tmp_path):
    def litter(_) -> None:
        for folder in (*tmp_path.glob("best"), *(tmp_path / "checkpoints").glob("step-*")):
            (folder / ".DS_Store").touch()
        if (tmp_path / "best").exists():
            (tmp_path / "best" / "notes.txt").write_text("mine")

    assert run(text, tmp_path, after=litter) == 0
    assert same_end(tmp_path, whole) and steps_in(tmp_path / "checkpoints") == [6, 8]
    assert (tmp_path / "best" / "notes.txt").read_text() == "mine"


def test_a_second_folder_with_another_run_is_refused(text, whole, tmp_path, capsys):
    also, out = tmp_path / "also", tmp_path / "out"
    assert run(text, tmp_path / "other", "--also", str(also), "--minutes", "1e-9", change=("seed=1",)) == 0
    shutil.copytree(whole, out)  # its checkpoints are newer than the stranger's
    assert run(text, out, "--also", str(also)) == 2
    assert f"{also} is of another run; what differs: seed: 1 there, 0 here" in capsys.readouterr().err
    assert steps_in(also) == [0]


@pytest.mark.parametrize("there", [False, True])
def test_a_drive_that_brings_another_run_is_left_alone(text, whole, tmp_path, capsys, there):
    drive, out = tmp_path / "drive", tmp_path / "out"
    assert run(text, tmp_path / "other", "--also", str(tmp_path / "run"), "--minutes", "1e-9", change=("seed=1",)) == 0
    if there:
        drive.mkdir()

    def mount():
        if there:
            shutil.rmtree(drive / "run")
        drive.mkdir(exist_ok=True)
        (tmp_path / "run").rename(drive / "run")

    after = at_record(1, mount)
    assert run(text, out, "--also", str(drive / "run"), after=after) == 0
    says = "holds checkpoints of another run (seed: 1 there" if there else f"goes on without {drive / 'run'}"
    assert says in capsys.readouterr().err
    assert steps_in(drive / "run") == [0] and same_end(out, whole)


def test_the_folder_itself_vanishes(text, whole, tmp_path, capsys):
    out, also = tmp_path / "out", tmp_path / "also"
    after = at_record(6, lambda: shutil.rmtree(out))
    assert run(text, out, "--also", str(also), after=after) == 1
    said = capsys.readouterr().err
    assert "log.jsonl cannot be written" in said and "model was not written; the same command writes it" in said
    assert run(text, out, "--also", str(also)) == 0
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


@pytest.mark.parametrize("stopped", [False, True])
def test_saved_nowhere_is_a_failure(text, tmp_path, capsys, stopped):
    def vanish():
        shutil.rmtree(tmp_path / "out")
        if stopped:
            os.kill(os.getpid(), signal.SIGTERM)

    after = at_record(6, vanish)
    assert run(text, tmp_path / "out", after=after) == 1
    step = 4 if stopped else 8
    assert f"pretrain: step {step} could be saved nowhere" in capsys.readouterr().err


def test_a_full_disk_leaves_what_is_said(text, tmp_path, monkeypatch, capsys):
    save = checkpoint.save

    def full(folder, state, keep):
        if state.step > 4:
            raise checkpoint.StorageError("disk full")
        save(folder, state, keep=keep)

    monkeypatch.setattr(checkpoint, "save", full)
    assert run(text, tmp_path) == 1
    said = f"the run can go on from step 4; {tmp_path / 'model'} has the weights of the end"
    assert said in capsys.readouterr().err
    assert checkpoint.load_model(tmp_path / "model").extra["step"] == 8 and steps_in(tmp_path / "checkpoints") == [2, 4]


def test_a_log_that_cannot_be_written_for_a_while_is_whole_in_the_end(text, whole, tmp_path, capsys):
    log, away = tmp_path / "log.jsonl", tmp_path / "away.jsonl"
    seen = []

    def stand_in_the_way(_) -> None:
        seen.append(0)
        if len(seen) == 3:
            log.rename(away)
            log.mkdir()
        if len(seen) == 7:
            log.rmdir()
            away.write_bytes(away.read_bytes() + b'{"half')  # what a full disk leaves of a line
            away.rename(log)

    assert run(text, tmp_path, after=stand_in_the_way) == 0
    said = capsys.readouterr().err
    assert said.count("log.jsonl cannot be written (Is a directory)") == 2  # once when it begins, once at end
    assert same_end(tmp_path, whole)


def test_no_checkpoint_is_younger_than_the_log(text, tmp_path, monkeypatch):
    save, fsync, on_disk = checkpoint.save, os.fsync, {}

    def remembering(descriptor):
        fsync(descriptor)
        on_disk[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size

    def checking(folder, state, keep):
        log = (tmp_path / "log.jsonl").stat()
        assert on_disk.get(log.st_ino) == log.st_size > 0
        return save(folder, state, keep=keep)

    monkeypatch.setattr(os, "fsync", remembering)
    monkeypatch.setattr(checkpoint, "save", checking)
    assert run(text, tmp_path) == 0 and steps_in(tmp_path / "checkpoints") == [6, 8]


def test_save_trouble_after_the_checkpoint_is_safe(text, tmp_path, monkeypatch, capsys):
    save = checkpoint.save

    def then_fail(folder, state, keep):
        save(folder, state, keep=keep)
        raise checkpoint.StorageError("removing older checkpoints failed")

    monkeypatch.setattr(checkpoint, "save", then_fail)
    assert run(text, tmp_path) == 0
    assert "step 8 was saved, but with trouble" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--also"])
def test_two_runs_in_one_folder_are_refused(text, whole, tmp_path, capsys, option):
    results, out, also = [], tmp_path / "a", tmp_path / "also"
    other = out if option == "--out" else tmp_path / "b"
    after = at_record(1, lambda: results.append(run(text, other, "--also", str(also), change=("seed=1",))))
    assert run(text, out, "--also", str(also), after=after) == 0
    assert results == [2] and f"{option}: another run is writing to" in capsys.readouterr().err
    assert same_end(out, whole)


def test_the_log_keeps_what_was_before_the_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [{"kind": "evaluation", "step": i, "n_tokens": 1, "loss_nats": 2, "n_scored": 3} for i in range(5)]
    lines = [line | {"seconds": 0.5} for line in lines]
    no_records = ["5", "[]", "{}", '{"kind": []}', '{"kind": "update"}', json.dumps(lines[0]).replace("2", "NaN")]
    no_records += [json.dumps(lines[0] | wrong) for wrong in ({"step": "1"}, {"seconds": None}, {"step": 10**400})]
    torn = "\n".join([*no_records, *map(json.dumps, lines)]) + '\n{"kind": "upd'
    for tail in (torn.encode(), torn.encode() + b"\x00\xff\x00"):
        path.write_bytes(tail)
        assert pretrain.log.rewind(path, 3) == lines[:3]
        assert path.read_text() == "".join(json.dumps(line) + "\n" for line in lines[:3])
    assert pretrain.log.rewind(path, 2, evaluated=True) == lines[:3]
    assert pretrain.log.rewind(path, 0) == [] and path.read_bytes() == b""
    assert pretrain.log.rewind(tmp_path / "new.jsonl", 7) == []


@pytest.mark.parametrize(("name", "place"), [("train.npy", 40), ("train.npy", 300), ("validation.npy", -1)])
def test_damaged_ids_are_written_anew(text, whole, tmp_path, name, place, capsys):
    shutil.copytree(whole, tmp_path / "out")
    path = tmp_path / "out" / "ids" / name
    content = bytearray(path.read_bytes())
    content[place] ^= 8
    path.write_bytes(content)
    assert run(text, tmp_path / "out") == 0
    assert path.read_bytes() == (whole / "ids" / name).read_bytes()
    assert "was damaged: its ids were written anew" in capsys.readouterr().err
    path.unlink()
    (path.parent / "made_from.json").write_text("[]")
    assert run(text, tmp_path / "out") == 0 and path.exists()


def test_a_log_that_was_deleted_is_begun_again_with_a_warning(text, tmp_path, capsys):
    log = tmp_path / "out" / "log.jsonl"
    assert run(text, tmp_path / "out", after=lambda record: record.step == 3 and log.unlink(missing_ok=True)) == 0
    assert "was gone, with the lines before this one" in capsys.readouterr().err and log.exists()


def test_one_document_is_cut(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("one two three four five six seven eight nine ten " * 8)
    pretrain.ids.prepare(tmp_path, [str(path)], [], 0, "x")
    training, validation = pretrain.ids.open_both(tmp_path)
    assert len(training) == 73 and len(validation) == 9  # 80 ids in nine tenths and one, each with its end
    pretrain.ids.prepare(tmp_path, [str(path)], [str(path)], 0, "x")
    assert len(pretrain.ids.open_both(tmp_path)[1]) == 81


BAD = [
    (["--set", "n_step=5"], "field=value"),
    (["--set", "n_steps"], "field=value"),
    (["--set", "n_steps=2.5"], "n_steps must be a whole number, got 2.5"),
    (["--set", "n_steps=0"], "n_steps must be a whole number of at least 1"),
    (["--set", "batch_size=0"], "batch_size must be a whole number of at least 1, got 0"),
    (["--set", "save_every=x"], "save_every must be a whole number of at least 1, got 'x'"),
    (["--set", "shift=7"], "shift must be true or false"),
    (["--set", "gradient_checkpointing=1"], "gradient_checkpointing must be true or false, got 1"),
    (["--set", "seed=-1"], "seed must be a whole number"),
    (["--set", "learning_rate=fast"], "learning_rate must be a number, got 'fast'"),
    (["--set", "clip_norm=0,5"], "clip_norm must be a number, got '0,5': write a decimal point"),
    (["--set", f"weight_decay=1{'0' * 400}"], "weight_decay must be below 1e308, got one of 401 digits"),
    (["--set", "betas=[0.9]"], "betas are two numbers"),
    (["--set", "betas=0.9"], "betas must be a list of numbers, got 0.9"),
    (["--set", "n_steps=null"], "n_steps must be a whole number, got None"),
    (["--set", "context_length=99999999999"], "take a shorter context"),
    (["--set", "emb_dim=1000000000000"], "a model of these sizes cannot be made here"),
    (["--set", "vocab_size=100"], "vocab_size must be at least 50257"),
    (["--set", "context_length=4000"], "take a shorter context"),
    (["--set", "batch_size=400"], "do not fill a batch"),
    (["--config", "gpt-9"], "neither a preset (course-small"),
    (["--config", "/dev/null"], "nor a file that can be read (no plain file"),
    (["--threads", "0"], "--threads must be at least 1, got 0"),
    (["--device", "abacus"], "--device abacus: not to be had here"),
    (["--text", "/nowhere/text.txt"], "/nowhere/text.txt cannot be read"),
    (["--text", "/"], "/ cannot be read"),
    (["--out", "/proc/nowhere"], "--out: /proc/nowhere cannot be written"),
    (["--out", __file__], "cannot be written"),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_bad_input_is_one_line_and_status_2(text, tmp_path, capsys, options, says):
    option, value = options
    given = command(text, tmp_path / "out")
    if option == "--set":
        given.insert(given.index("--out"), value)
    else:
        given += options
    assert pretrain.main(given) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1


def test_a_rank_that_cannot_join_says_why(text, tmp_path, monkeypatch, capsys):
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert run(text, tmp_path, "--device", "mps") == 2
    assert "--device mps: several ranks take cpu" in capsys.readouterr().err


def test_bad_texts(tmp_path, capsys, text):
    empty, binary, pipe = tmp_path / "empty.txt", tmp_path / "binary.txt", tmp_path / "pipe"
    empty.write_text(" \n\f<|endoftext|> ")
    binary.write_bytes(b"\xff\xfe\x00")
    os.mkfifo(pipe)
    (wide := tmp_path / "wide.txt").write_text("wide", encoding="utf-16-le")
    cases = [(empty, "no text in"), (binary, "cannot be read as UTF-8 text"), (pipe, "is a pipe or a device")]
    cases += [(wide, "cannot be read as UTF-8 text (zero bytes in it: it may be UTF-16)")]
    for path, says in cases:
        assert run(path, tmp_path / "a") == 2 and f"--text: {says}" in capsys.readouterr().err.replace(f"{path} ", "")
        assert run(text, tmp_path / "b", "--validation", str(path)) == 2
        assert f"--validation: {says}" in capsys.readouterr().err.replace(f"{path} ", "")


def test_only_the_mark_at_the_start_of_a_file_goes(tmp_path):
    (tmp_path / "text.txt").write_text("\ufeffone\ufefftwo", encoding="utf-8")
    assert pretrain.ids.documents([tmp_path / "text.txt"]) == (["one\ufefftwo"], 0)


def test_how_a_text_was_saved_makes_no_other_run(text, tmp_path, capsys):
    """Windows' mark at its start, its ends of lines, and GPT-2's token between documents."""
    path = tmp_path / "text.txt"
    path.write_text(text.read_text().replace(" on", " on\n").replace("\f", "<|endoftext|>"))
    assert run(path, tmp_path / "out", "--minutes", "1e-9") == 0
    assert "<|endoftext|> stands 5 times in the texts: each ends a document" in capsys.readouterr().err
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert run(path, tmp_path / "out") == 0
    assert capsys.readouterr().err == ""  # the same run, the same ids, and it is said once
    pretrain.ids.prepare(tmp_path, [str(path)], [], 0, "x")
    for name in pretrain.ids.FILES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "out" / "ids" / name).read_bytes()


@pytest.mark.parametrize("n", [0, 3])
def test_validation_texts_that_are_trained_on_are_said_once(text, tmp_path, capsys, n):
    other = tmp_path / "other.txt"
    parts = text.read_text().split("\f")
    other.write_text("\ufeff" + "\f".join([*parts[:n], *(part[:-1] for part in parts[n:])]))
    for _ in range(2):
        assert run(text, tmp_path / "out", "--validation", str(other), "--minutes", "1e-9") == 0
    said = capsys.readouterr().err
    assert said.count("3 of 6 validation documents (50% of the characters) are in the training text too") == (n == 3)


def test_a_million_spaces_are_encoded(tmp_path):
    path = tmp_path / "spaces.txt"
    path.write_text("a" + " " * 10**6 + "b" + "\n" * 10**6 + "c")
    pretrain.ids.prepare(tmp_path, [str(path)], [str(path)], 0, "x")
    assert tokenizer.gpt2().decode(pretrain.ids.open_both(tmp_path)[0].tolist()[:-1]) == path.read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ([], "stopped: a loss of"),
        (["n_steps=1"], "stopped: a validation loss of nan after step 1: try a lower"),
        (["save_every=1"], "stopped: model.safetensors: NaN or infinity in"),
    ],
)
def test_a_loss_that_is_not_finite_stops_with_the_cause(text, tmp_path, capsys, change, says):
    assert run(text, tmp_path, change=("learning_rate=1e38", "clip_norm=null", *change)) == 1
    assert says in capsys.readouterr().err


def test_ctrl_c_before_training(text, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenizer, "gpt2", interrupt)
    assert run(text, tmp_path) == 130 and "interrupted before training" in capsys.readouterr().err


def test_a_plan_from_a_file_and_changes(tmp_path):
    path = tmp_path / "plan.json"
    plan = pretrain.Plan(GPTConfig(emb_dim=24, n_heads=3), TrainConfig(7, betas=(0.5, 0.6)), batch_size=11, seed=2)
    path.write_text("\ufeff" + json.dumps(asdict(plan)), encoding="utf-8")  # as Windows' editor saves it
    assert pretrain.plan.read_plan(str(path), [], "float16") == plan
    changes = ["ff_dim=5", "clip_norm=None", "shift=False", "eval_every=3", "gradient_checkpointing=true"]
    changed = pretrain.plan.read_plan(str(path), changes, "float16")
    assert pretrain.plan.differences(plan.identity(), changed.identity()) == [
        "model.ff_dim: None there, 5 here",
        "shift: True there, False here",
        "train.clip_norm: 1.0 there, None here",
        "train.eval_every: None there, 3 here",
    ]
    of_preset = pretrain.plan.read_plan("course-small", [], "bfloat16").train
    assert (of_preset.n_steps, of_preset.precision) == (1000, "bfloat16")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[1]", "one object, got a list"),
        (b'{"train": []}', "train should be an object"),
        (b'{"model": {"width": 5}}', "model has no field width"),
        (b'{"modle": {}}', "a plan has no field modle"),
    ],
)
def test_a_plan_that_is_none(tmp_path, content, says):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        pretrain.plan.read_plan(str(path), ["n_steps=3"], "float32")


# In processes of their own

ALONE = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")} | {"COURSE_QUIET": "1"}


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


def free_ports(n: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


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

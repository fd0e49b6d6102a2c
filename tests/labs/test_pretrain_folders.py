"""The command's folders: lost, damaged, forged, shared, on drives that go and come back; what is wrong is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from helpers.gpt import Evaluation
from helpers.labs import pretrain
from helpers.storage import checkpoint
from tests.labs.runs import WEIGHTS, at_record, cut, damage, forge, killed, run, same_end, steps_in, timeless


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
    assert not drive.exists() and same_end(tmp_path / "out", whole)


def test_a_drive_that_is_not_there_when_going_on(text, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "out")
    missing = str(tmp_path / "drive" / "run")
    assert run(text, tmp_path / "out", "--also", missing) == 0
    said = capsys.readouterr()
    assert f"{missing}: looking for checkpoints failed" in said.err and "going on from step 8" in said.out
    assert f"goes on without {missing}; if its checkpoints are there, stop it and mount" in said.err
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
    (loop := tmp_path / "loop").symlink_to(loop)
    assert run(text, tmp_path / "out", "--also", str(loop)) == 0
    assert f"not saved to {loop}" in capsys.readouterr().err


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
    assert capsys.readouterr().err.count("log.jsonl cannot be written (Is a directory)") == 1  # when it begins
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
        assert list(pretrain.read_lines(path)) == lines[:3] and len(path.read_text().splitlines()) == 3
    assert pretrain.log.rewind(path, 2, evaluated=True) == lines[:3]
    assert pretrain.log.rewind(path, 0) == [] and path.read_bytes() == b""
    assert pretrain.log.rewind(tmp_path / "new.jsonl", 7) == []


def test_a_digit_of_the_log_that_has_changed_is_said_and_left_out(text, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "out")
    log = tmp_path / "out" / "log.jsonl"
    first, second, *others = log.read_text().splitlines(keepends=True)
    at = second.index('"loss_nats": ') + len('"loss_nats": 10.')
    log.write_text(first + second[:at] + str((int(second[at]) + 1) % 10) + second[at + 1 :] + "".join(others))
    assert run(text, tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "log.jsonl: damaged lines, left out: 1" in said and "knows 7 of 8 updates" in said
    assert timeless(tmp_path / "out") == [line for i, line in enumerate(timeless(whole)) if i != 1]


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
    (path.parent / "made_from.json").write_text("[" * 10**5)  # deeper than a reader goes
    assert run(text, tmp_path / "out") == 0 and path.exists()


def test_a_log_that_was_deleted_is_begun_again_with_a_warning(text, tmp_path, capsys):
    log = tmp_path / "out" / "log.jsonl"
    assert run(text, tmp_path / "out", after=lambda record: record.step == 3 and log.unlink(missing_ok=True)) == 0
    assert "was gone, with the lines before this one" in capsys.readouterr().err and log.exists()


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

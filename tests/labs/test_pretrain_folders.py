"""The command's folders: lost, damaged, forged, shared, on drives that go and come back; what is wrong is said."""

import errno
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from helpers.gpt import Evaluation
from helpers.labs import pretrain
from helpers.storage import checkpoint
from tests.labs.runs import WEIGHTS, at_record, forge, same_end, steps_in, timeless
from tests.support import flip


def not_connected() -> None:
    raise OSError(errno.ENOTCONN, "not connected")


def each(change):
    """`change` of each checkpoint of a run."""
    return lambda out: [change(path) for path in (out / "checkpoints").iterdir()]


def forged(part: str, value: str):
    return each(lambda path: forge(path, part, value))


def lost(*more: str):
    """A run without its checkpoints and more."""
    return lambda out: [remove(out / name) for name in ("checkpoints", *more)]


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def without_moments(path: Path) -> None:
    save_file({}, path / "optimizer.safetensors")
    forge(path, "optimizer", '{"param_groups": [], "state": {}}')


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda out: shutil.rmtree(out / "checkpoints"), "log.jsonl knows 8 updates, and no checkpoint of them is"),
        (lost("log.jsonl"), "best knows 8 updates, and no checkpoint of them is"),
        (lost("log.jsonl", "best"), "model knows 8 updates, and no checkpoint of them is"),
        (each(lambda path: flip(path / "model.safetensors")), "no good checkpoint under"),
        (forged("rng", "{}"), "rng.ranks is missing"),
        (forged("rng", '{"ranks": [{}]}'), "capture_rng gives"),
        (forged("rng", '{"ranks": 5}'), "rng.ranks is 5"),
        (forged("data", "{}"), "data.n_tokens is missing"),
        (forged("data", '{"n_tokens": -1}'), "data.n_tokens is -1"),
        (forged("data", '{"n_tokens": 7}'), "data.n_tokens is 7, expected 512 after 8 updates"),
        (forged("extra", "{}"), "extra.best_loss is missing"),
        (forged("extra", '{"best_loss": "low"}'), "extra.best_loss is 'low'"),
        (forged("extra", '{"best_loss": NaN}'), "state.json is not the JSON that was written"),
        (forged("extra", '{"best_loss": 1e999}'), "state.json is not the JSON that was written"),
        (forged("config", '{"train": 5}'), "config.train.precision is missing"),
        (forged("optimizer", "null"), "optimizer is None"),
        (each(without_moments), "optimizer has no moments, expected some after 8 updates"),
    ],
)
def test_what_no_run_can_go_on_from_is_refused_and_left_as_it_is(train, out, spoil, says):
    spoil(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    done = train(out)
    assert done.status == 2 and says in done.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_damaged_checkpoint_is_passed_over(train, whole, out):
    flip(out / "checkpoints" / "step-00000008" / "model.safetensors")
    done = train(out)
    assert "step-00000008 is passed over" in done.err and "going on from step 6" in done.out
    assert done.status == 0 and same_end(out, whole)


def test_a_second_folder_is_enough_to_go_on_from(train, whole, tmp_path):
    also = tmp_path / "drive" / "run"
    also.parent.mkdir()
    train(tmp_path / "a", "--also", also, kill_at=8)  # after update 5, before step 6 is saved
    assert steps_in(also) == steps_in(tmp_path / "a" / "checkpoints") == [2, 4]
    shutil.rmtree(tmp_path / "a" / "checkpoints" / "step-00000004")  # this one is behind
    done = train(tmp_path / "a", "--also", also)
    assert done.status == 0 and f"going on from step 4 ({also}" in done.out and same_end(tmp_path / "a", whole)
    done = train(tmp_path / "b", "--also", also)  # another machine
    assert done.status == 0 and "log.jsonl knows 0 of 8 updates" in done.err
    assert (tmp_path / "b" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_drive_that_vanishes_is_warned_of_and_training_goes_on(train, whole, tmp_path):
    (drive := tmp_path / "drive").mkdir()
    done = train(tmp_path / "out", "--also", drive / "run", after=at_record(6, lambda: shutil.rmtree(drive)))
    for step in (4, 6, 8):
        assert f"step {step} was not saved to {drive / 'run'}" in done.err
    assert done.status == 0 and not drive.exists() and same_end(tmp_path / "out", whole)


@pytest.mark.parametrize(("inside", "dead"), [("", False), ("run", False), ("", True)])
def test_a_drive_that_goes_and_leaves_its_mount_point_is_not_mistaken_for_it(
    train, whole, tmp_path, monkeypatch, inside, dead
):
    (mounted := tmp_path / "drive").mkdir()
    drive, glob = pretrain.checkpoints.drive, Path.glob
    numbers = {tmp_path: 1, mounted: 2}  # of drives
    monkeypatch.setattr(pretrain.checkpoints, "drive", lambda folder: drive(folder) and numbers.get(folder, 2))

    def unmount() -> None:
        shutil.rmtree(mounted)
        mounted.mkdir()
        numbers[mounted] = 1
        if dead:  # as what mounts Google Drive leaves it when it crashes
            monkeypatch.setattr(
                Path, "glob", lambda path, name: not_connected() if path == mounted else glob(path, name)
            )

    done = train(tmp_path / "out", "--also", mounted / inside, after=at_record(6, unmount))
    assert f"{mounted / inside} is on another drive than when the run began: mount that one again" in done.err
    assert done.status == 0 and not any(mounted.iterdir()) and same_end(tmp_path / "out", whole)


def test_a_drive_that_is_not_there(train, out, tmp_path):
    missing = tmp_path / "drive" / "run"
    done = train(out, "--also", missing)
    assert done.status == 0 and "going on from step 8" in done.out
    assert f"{missing}: looking for checkpoints failed" in done.err
    assert f"goes on without {missing}; if its checkpoints are there, stop it and mount" in done.err
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "checkpoints").write_text("a file stands here")
    done = train(tmp_path / "blocked", "--also", missing)
    assert done.status == 2 and "no folder for checkpoints can be reached" in done.err
    done = train(missing)
    assert done.status == 2 and f"{missing.parent} is not there: mount the drive, or make it first" in done.err
    assert not missing.parent.exists(), "a folder on a drive that has gone is no beginning"


def test_a_folder_that_is_behind_is_caught_up(train, whole, tmp_path):
    also, out = tmp_path / "drive", tmp_path / "out"
    train(out, "--also", also, kill_at=4)
    shutil.rmtree(also / "step-00000002")
    assert train(out).status == 0  # the drive is away
    assert steps_in(also) == [0] and train(out, "--also", also).status == 0
    assert steps_in(also) == [0, 8] and same_end(out, whole)
    shutil.rmtree(out / "checkpoints")
    assert train(out, "--also", also).status == 0 and steps_in(out / "checkpoints") == [8]


@pytest.mark.parametrize("place", ["", "checkpoints", "a/b", "link"])
def test_a_second_folder_in_the_first_is_none(train, tmp_path, place):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "out")
    done = train(tmp_path / "out", "--also", tmp_path / "out" / place)
    assert done.status == 2 and "is inside --out" in done.err


@pytest.mark.parametrize("name", [".lock", "log.jsonl", "ids/train.npy", "ids/made_from.json", "best/SHA256SUMS"])
def test_links_and_pipes_in_a_folder_from_elsewhere(train, whole, tmp_path, name):
    """None is written through, none is waited for."""
    (theirs := tmp_path / "theirs").write_text("mine")
    for make in (lambda path: path.symlink_to(theirs), lambda path: path.symlink_to(tmp_path / "new"), os.mkfifo):
        shutil.copytree(whole, tmp_path / "out")
        (tmp_path / "out" / name).unlink()
        make(tmp_path / "out" / name)
        assert train(tmp_path / "out").status == (2 if name == ".lock" else 0) and theirs.read_text() == "mine"
        shutil.rmtree(tmp_path / "out")
    assert not (tmp_path / "new").exists()


def test_a_link_where_the_second_folders_lock_should_be(train, tmp_path):
    (also := tmp_path / "also").mkdir()
    (also / ".lock").symlink_to(tmp_path / "new")
    done = train(tmp_path / "out", "--also", also)
    assert done.status == 2 and f"--also: {also} cannot be written ([Errno" in done.err
    assert not (tmp_path / "new").exists()
    (loop := tmp_path / "loop").symlink_to(loop)
    done = train(tmp_path / "out", "--also", loop)
    assert done.status == 0 and f"not saved to {loop}" in done.err


def test_files_of_others_stop_nothing(train, whole, tmp_path):
    def litter(_) -> None:
        for folder in (*tmp_path.glob("best"), *(tmp_path / "checkpoints").glob("step-*")):
            (folder / ".DS_Store").touch()
        if (tmp_path / "best").exists():
            (tmp_path / "best" / "notes.txt").write_text("mine")

    assert train(tmp_path, after=litter).status == 0
    assert same_end(tmp_path, whole) and steps_in(tmp_path / "checkpoints") == [6, 8]
    assert (tmp_path / "best" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("when", ["before", "in place of ours", "where none was"])
def test_a_second_folder_with_another_run_is_left_alone(train, whole, out, tmp_path, when):
    drive = tmp_path / "drive"
    assert train(tmp_path / "other", "--also", tmp_path / "run", "--minutes", 1e-9, change=("seed=1",)).status == 0

    def mount():
        shutil.rmtree(drive / "run", ignore_errors=True)
        drive.mkdir(exist_ok=True)
        (tmp_path / "run").rename(drive / "run")

    if when == "before":  # our checkpoints are newer than the stranger's
        mount()
        done = train(out, "--also", drive / "run")
        assert done.status == 2
        assert f"{drive / 'run'} is of another run; what differs: seed: 1 there, 0 here" in done.err
    else:
        if when == "in place of ours":
            drive.mkdir()
        done = train(tmp_path / "new", "--also", drive / "run", after=at_record(1, mount))
        assert done.status == 0 and same_end(tmp_path / "new", whole)
        says = "holds checkpoints of another run (seed: 1 there" if when == "in place of ours" else "goes on without "
        assert says in done.err
    assert steps_in(drive / "run") == [0]


def test_the_folder_itself_vanishes(train, whole, tmp_path):
    out, also = tmp_path / "out", tmp_path / "also"
    done = train(out, "--also", also, after=at_record(6, lambda: shutil.rmtree(out)))
    assert done.status == 1 and "log.jsonl cannot be written" in done.err
    assert "model was not written; the same command writes it" in done.err
    assert train(out, "--also", also).status == 0
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


@pytest.mark.parametrize("step", [4, 8])
def test_saved_nowhere_is_a_failure(train, tmp_path, step):
    def vanish():
        shutil.rmtree(tmp_path / "out")
        if step == 4:  # stopped there
            os.kill(os.getpid(), signal.SIGTERM)

    done = train(tmp_path / "out", after=at_record(6, vanish))
    assert done.status == 1 and f"pretrain: step {step} could be saved nowhere" in done.err


def test_trouble_while_a_checkpoint_is_saved(train, tmp_path, monkeypatch):
    """A disk that is full, and what happens after one is safe; none is younger than the log on the disk."""
    save, fsync, on_disk = checkpoint.save, os.fsync, {}

    def full(folder, state, keep):
        if state.step > 4:
            raise checkpoint.StorageError("disk full")
        save(folder, state, keep=keep)

    def then_fail(folder, state, keep):
        log = (tmp_path / "b" / "log.jsonl").stat()
        assert on_disk.get(log.st_ino) == log.st_size > 0
        save(folder, state, keep=keep)
        raise checkpoint.StorageError("removing older checkpoints failed")

    def remembering(descriptor):
        fsync(descriptor)
        on_disk[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size

    monkeypatch.setattr(checkpoint, "save", lambda folder, state, keep: full(folder, replace(state, step=9), keep))
    done = train(tmp_path / "a")
    assert done.status == 1 and "step 0 could be saved nowhere" in done.err and "there is no other one" in done.err
    monkeypatch.setattr(checkpoint, "save", full)
    done = train(tmp_path / "a")  # once there is room the same command begins anew
    said = f"the run can go on from step 4; {tmp_path / 'a' / 'model'} has the weights of the end"
    assert done.status == 1 and said in done.err and steps_in(tmp_path / "a" / "checkpoints") == [2, 4]
    assert checkpoint.load_model(tmp_path / "a" / "model").extra["step"] == 8
    monkeypatch.setattr(checkpoint, "save", then_fail)
    monkeypatch.setattr(os, "fsync", remembering)
    done = train(tmp_path / "b")
    assert done.status == 0 and "step 8 was saved, but with trouble" in done.err
    assert steps_in(tmp_path / "b" / "checkpoints") == [6, 8]


def test_a_log_that_cannot_be_written_for_a_while_is_whole_in_the_end(train, whole, tmp_path, monkeypatch):
    log, away, seen = tmp_path / "log.jsonl", tmp_path / "away.jsonl", []

    def stand_in_the_way(_) -> None:
        seen.append(0)
        if len(seen) == 3:
            log.rename(away)
            log.mkdir()
        if len(seen) == 7:
            log.rmdir()
            away.write_bytes(away.read_bytes() + b'{"half')  # what a full disk leaves of a line
            away.rename(log)

    done = train(tmp_path, after=stand_in_the_way)
    assert done.err.count("log.jsonl cannot be written (Is a directory)") == 1  # when it begins
    assert done.status == 0 and same_end(tmp_path, whole)
    (tmp_path / "new" / "log.jsonl").mkdir(parents=True)
    monkeypatch.setattr(Path, "is_file", lambda path: path.exists())
    done = train(tmp_path / "new")
    assert done.status == 2 and "log.jsonl cannot be read" in done.err


@pytest.mark.parametrize("option", ["--out", "--also"])
def test_two_runs_in_one_folder_are_refused(train, whole, tmp_path, option):
    done, out, also = [], tmp_path / "a", tmp_path / "also"
    other = out if option == "--out" else tmp_path / "b"
    after = at_record(1, lambda: done.append(train(other, "--also", also, change=("seed=1",))))
    assert train(out, "--also", also, after=after).status == 0 and same_end(out, whole)
    assert done[0].status == 2 and f"{option}: another run is writing to" in done[0].err


WRONG_VALUES = ({"step": "1"}, {"seconds": None}, {"step": 10**400}, {"n_tokens": "1"}, {"loss_nats": True})


def test_the_log_keeps_what_was_before_the_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    line = {"kind": "evaluation", "n_tokens": 1, "loss_nats": 2.0, "n_scored": 3, "seconds": 0.5}
    lines = [line | {"step": i} for i in range(5)]
    no_records = ["5", "[]", "{}", '{"kind": []}', '{"kind": "update"}', json.dumps(lines[0]).replace("2.0", "NaN")]
    no_records += [json.dumps(lines[0] | wrong) for wrong in WRONG_VALUES]
    no_records += ["[" + "[]," * 10**5 + "[]]", "9" * 10**6]
    torn = "\n".join([*no_records, *map(json.dumps, lines)]) + '\n{"kind": "upd'
    for tail in (torn.encode(), torn.encode() + b"\x00\xff\x00"):
        path.write_bytes(tail)
        assert pretrain.log.rewind(path, 3) == lines[:3]
        assert list(pretrain.read_lines(path)) == lines[:3] and len(path.read_text().splitlines()) == 3
    assert pretrain.log.rewind(path, 2, evaluated=True) == lines[:3]
    assert pretrain.log.rewind(path, 0) == [] and path.read_bytes() == b""
    assert pretrain.log.rewind(tmp_path / "new.jsonl", 7) == []


def test_a_log_that_an_editor_has_saved_loses_no_line(train, whole, out):
    log = out / "log.jsonl"
    text = log.read_text()
    log.write_text(text, encoding="utf-8-sig")
    assert train(out).status == 0 and same_end(out, whole)
    log.write_text(text, encoding="utf-16")
    before = log.read_bytes()
    done = train(out)
    assert done.status == 2 and "it is UTF-16: save it as UTF-8" in done.err and log.read_bytes() == before


def test_of_a_log_that_was_joined_to_itself_each_line_counts_once(train, whole, out):
    log = out / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    del lines[1]  # an update, which twice the others do not make up for
    log.write_text("".join(lines) * 2)
    done = train(out)
    assert f"damaged or repeated lines, left out: {len(lines)}" in done.err and "knows 7 of 8 updates" in done.err
    assert done.status == 0 and timeless(out) == [line for i, line in enumerate(timeless(whole)) if i != 1]


def test_a_digit_of_the_log_that_has_changed_is_said_and_left_out(train, whole, out):
    log = out / "log.jsonl"
    first, second, *others = log.read_text().splitlines(keepends=True)
    at = second.index('"loss_nats": ') + len('"loss_nats": 10.')
    log.write_text(first + second[:at] + str((int(second[at]) + 1) % 10) + second[at + 1 :] + "".join(others))
    done = train(out)
    assert "log.jsonl: damaged or repeated lines, left out: 1" in done.err and "knows 7 of 8 updates" in done.err
    assert done.status == 0 and timeless(out) == [line for i, line in enumerate(timeless(whole)) if i != 1]


def test_a_log_that_was_deleted_is_begun_again_with_a_warning(train, tmp_path):
    log = tmp_path / "log.jsonl"
    done = train(tmp_path, after=lambda record: record.step == 3 and log.unlink(missing_ok=True))
    assert done.status == 0 and "was gone, with the lines before this one" in done.err and log.exists()


@pytest.mark.parametrize(("name", "place"), [("train.npy", 40), ("train.npy", 300), ("validation.npy", -1)])
def test_damaged_ids_are_written_anew(train, whole, out, name, place):
    path = out / "ids" / name
    flip(path, place, 8)
    done = train(out)
    assert done.status == 0 and "was damaged: its ids were written anew" in done.err
    assert path.read_bytes() == (whole / "ids" / name).read_bytes()
    path.unlink()
    (path.parent / "made_from.json").write_text("[" * 10**5)  # deeper than a reader goes
    assert train(out).status == 0 and path.exists()


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("lose", "says"),
    [
        (shutil.rmtree, "best is gone: the next evaluation counts"),
        (
            lambda best: os.truncate(best / "model.safetensors", 99),
            "best is damaged (model.safetensors",
        ),
        (lambda best: checkpoint.save_model(best, {"w": torch.ones(1)}, {}), "best is damaged ('loss_nats')"),
        (
            lambda best: checkpoint.save_model(
                best,
                {"w": torch.ones(1)},
                {},
                (said := checkpoint.load_model(best).extra) | {"loss_nats": 0.1, "run": said["run"] | {"seed": 7}},
            ),
            "best is of another run (seed",
        ),
    ],
)
def test_best_weights_that_are_gone_or_damaged_are_found_anew(train, tmp_path, lose, says, finished):
    change = ("learning_rate=3.0",)  # nothing that comes will beat what was lost
    train(tmp_path, change=change, kill_at=0 if finished else 6)
    lose(tmp_path / "best")
    done = train(tmp_path, change=change)
    assert done.status == 0 and says in done.err
    assert checkpoint.load_model(tmp_path / "best").extra["step"] > 0


@pytest.mark.parametrize("error", [checkpoint.StorageError, ValueError])
@pytest.mark.parametrize("failing", [6, 8])
def test_best_weights_that_could_not_be_written_are_no_best(train, tmp_path, monkeypatch, failing, error):
    save, full = checkpoint.save_model, [True]

    def fail_once(folder, model, config, said):
        if folder.name == "best" and said["step"] == failing and full:
            raise error(f"disk {full.pop() and 'full'}")
        save(folder, model, config, said)

    monkeypatch.setattr(checkpoint, "save_model", fail_once)
    done = train(tmp_path)
    losses = {r.step: r.loss_nats for r in pretrain.read_log(tmp_path / "log.jsonl") if isinstance(r, Evaluation)}
    assert losses[8] < losses[6] < losses[3] and not full
    if failing == 8:  # no later one takes its place
        assert done.status == 1 and "best is not of the lowest loss" in done.err
        assert checkpoint.load_model(tmp_path / "best").extra["step"] == 6
        assert checkpoint.find(tmp_path / "checkpoints").state.extra["best_loss"] == losses[6]
        done = train(tmp_path)
    assert done.status == 0 and checkpoint.load_model(tmp_path / "best").extra["loss_nats"] == losses[8]

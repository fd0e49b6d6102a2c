"""Checkpoints: a resumed run ends bit for bit where it would have; a good one exists at every moment; refusals."""

import contextlib
import copy
import errno
import hashlib
import itertools
import json
import math
import os
import pickle
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from helpers.gpt import GPT, GPTConfig
from helpers.storage import checkpoint, weights
from tests.support import flip, names, refusals, refused

CONFIG = GPTConfig(vocab_size=13, context_length=7, emb_dim=6, n_heads=2, n_layers=1, drop_rate=0.1)
EVERY_DTYPE = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
EVERY_DTYPE += [torch.int8, torch.uint8, torch.bool]


def tiny(step: int = 3, value: float = 1.0) -> checkpoint.RunState:
    return checkpoint.RunState(step, {"w": torch.full((2, 3), value), "b": torch.arange(5.0)}, extra={"value": value})


def steps(folder: Path) -> list[int]:
    return [int(name.removeprefix("step-")) for name in names(folder) if name.startswith("step-")]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.8, 0.9)),
    "fused": lambda p: torch.optim.AdamW(p, fused=True),
    "foreach": lambda p: torch.optim.AdamW(p, foreach=True, amsgrad=True),
    "groups": lambda p: torch.optim.AdamW([{"params": p[:2], "weight_decay": 0.0}, {"params": p[2:]}]),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "factors": lambda p: torch.optim.Adafactor(p),
}


def new_run(optimizer: str = "AdamW") -> tuple[GPT, torch.optim.Optimizer]:
    torch.manual_seed(5)
    model = GPT(CONFIG)
    return model, OPTIMIZERS[optimizer](list(model.parameters()))


def saved(model: GPT, optimizer: torch.optim.Optimizer, folder: Path) -> Path:
    rng = checkpoint.capture_rng("cpu")
    return checkpoint.save(folder, checkpoint.RunState(3, model.state_dict(), optimizer.state_dict(), rng=rng))


def rename(settings: dict, old: str, new: str) -> None:
    settings[new] = settings.pop(old)


def train(model: GPT, optimizer: torch.optim.Optimizer, n_steps: int) -> None:
    """Batches from torch's generator, lengths from Python's, a rate from numpy's: each must be where it was."""
    for _ in range(n_steps):
        length = random.randint(2, 7)
        for group in optimizer.param_groups:
            group["lr"] = float(np.random.uniform(1e-3, 1e-2))
        ids = torch.randint(13, (3, length))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
        optimizer.step()


def same(a: object, b: object) -> bool:
    """Equal in type and value, bit for bit; NaN equals NaN."""
    if isinstance(a, torch.Tensor):
        whole = isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return whole and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_resumed_run_ends_bit_for_bit_where_it_would_have(tmp_path, kind):
    random.seed(7), np.random.seed(7)
    model, optimizer = new_run(kind)
    train(model, optimizer, 3)
    path, then = saved(model, optimizer, tmp_path), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, 4)
    expected = model.state_dict(), optimizer.state_dict()

    random.seed(0), np.random.seed(0)
    model, optimizer = new_run(kind)
    state = checkpoint.load(path)
    before = pickle.dumps(state)
    assert same(state.optimizer, then)
    checkpoint.restore(model, optimizer, state)
    assert checkpoint.restore_rng(state.rng) == ()
    train(model, optimizer, 4)
    assert same(dict(model.state_dict()), dict(expected[0]))
    assert same(optimizer.state_dict(), expected[1])
    assert pickle.dumps(state) == before, "training must not change the state that was loaded"
    assert model.head.weight is model.token_embedding.weight


def test_everything_comes_back(tmp_path):
    odd = {"nested": [1, [2.5, None, {"x": True}]], "$x": 1e-320, "text": "ação \ud800", "large": 2**70}
    state = tiny()
    state.schedule, state.scaler, state.data, state.extra = odd, {"scale": 65536.0}, {"at": 2**70}, odd
    state.rng = checkpoint.capture_rng()
    path = checkpoint.save(tmp_path / "run", state)
    assert path == tmp_path / "run" / "step-00000003"
    sums = (path / "SHA256SUMS").read_text()  # as the tool sha256sum has them
    files = sorted(file for file in path.iterdir() if file.name != "SHA256SUMS")
    assert sums == "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files)
    back = checkpoint.load(path)
    for name in ("step", "schedule", "scaler", "rng", "data", "config", "extra", "optimizer"):
        assert same(getattr(back, name), getattr(state, name)), name
    assert same(dict(back.model), dict(state.model))
    assert set(back.versions) == {"python", "torch", "numpy", "safetensors"}
    assert json.loads((path / "state.json").read_text())["format"] == "pretraining-a-gpt/checkpoint"


def test_tensors_of_every_dtype_layout_and_memory_come_back_and_the_ecosystem_reads_them(tmp_path):
    held, halves = torch.arange(6.0), torch.arange(8.0)  # neighbours in one storage are not the same tensor
    model = {str(d): (torch.randn(3, 5) * 50).to(d) for d in EVERY_DTYPE}
    model |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "transposed": torch.randn(3, 5).T}
    model |= {"strided": torch.arange(11)[::2], "parameter": torch.nn.Parameter(torch.ones(2))}
    model |= {"expanded": torch.tensor([1.0, 2.0]).expand(3, 2), "left": halves[:4], "right": halves[4:]}
    model |= {"a": held, "begins": held[:2], "viewed": held.view(2, 3)}
    path = checkpoint.save(tmp_path, checkpoint.RunState(0, model | {"z": held}))
    back, theirs = checkpoint.load(path).model, safetensors.torch.load_file(path / "model.safetensors")
    assert list(back) == sorted(back), "ranks exchange them one by one in the order in which each has read them"
    assert back.pop("z") is back["a"], "shared: stored once"
    assert set(back) == set(theirs) == set(model)
    for name, tensor in model.items():
        assert same(back[name], tensor.detach().contiguous()) and same(theirs[name], back[name]), name
        assert back[name].is_contiguous() and not back[name].requires_grad
    step = torch.tensor(3.0)
    optimizer = {"state": {0: {"step": step}, 1: {"step": step}}, "param_groups": [{"params": [0, 1]}]}
    state = checkpoint.load(checkpoint.save(tmp_path, checkpoint.RunState(3, {"w": held}, optimizer)))
    assert [state.optimizer["state"][i]["step"].item() for i in (0, 1)] == [3, 3]


def test_generators_go_on_where_they_were():
    random.gauss(0, 1), np.random.randn(1)  # each now holds the second of a pair
    rng = json.loads(json.dumps(checkpoint.capture_rng()))
    draw = lambda: (random.gauss(0, 1), random.random(), np.random.randn(3).tolist(), torch.rand(3).tolist())  # noqa: E731
    first = draw()
    assert draw() != first
    assert checkpoint.restore_rng(rng) == ()
    assert draw() == first
    rng["cuda"] = {"97": rng["torch"]}
    assert checkpoint.restore_rng(rng) == ("cuda:97",)


def test_a_single_gpus_state_goes_to_the_gpu_in_use(monkeypatch):
    cards = {0: torch.zeros(16, dtype=torch.uint8), 1: torch.ones(16, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda i: cards[i].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, i: cards.update({i: state.clone()}))
    rng, both, none = (checkpoint.capture_rng(device) for device in ("cuda:1", None, "cpu"))
    three = both | {"cuda": both["cuda"] | {"2": both["torch"]}}
    for saved_there, device, lost, now in (
        (rng, "cuda:0", (), [1, 7]),
        (rng, torch.device("cuda:1"), (), [7, 1]),
        (rng, None, (), [7, 1]),
        (both, "cuda:1", (), [7, 1]),
        (both, None, (), [0, 1]),
        (rng, "cpu", ("cuda:1",), [7, 7]),
        (none, "cuda:0", ("cuda:0",), [7, 7]),
        (three, "cuda:3", ("cuda:3",), [7, 7]),
    ):
        cards.update({i: torch.full((16,), 7, dtype=torch.uint8) for i in range(2)})
        assert checkpoint.restore_rng(saved_there, device) == lost
        assert [int(cards[i][0]) for i in range(2)] == now


@pytest.mark.parametrize(
    ("generator", "value"),
    [
        ("python", lambda old: [old[0], [1, 2, 3], old[2]]),
        ("python", lambda old: [99, *old[1:]]),
        ("python", lambda old: [*old[:2], "a"]),
        ("numpy", lambda old: [old[0], [-1] * 624, *old[2:]]),
        ("numpy", lambda old: [*old[:2], 625, *old[3:]]),
        ("numpy", lambda old: [*old[:4], math.nan]),
        ("torch", lambda old: "00"),
        ("torch", lambda old: "xy"),
        ("cuda", lambda old: []),
    ],
)
def test_a_wrong_generator_state_touches_none(generator, value):
    rng = checkpoint.capture_rng("cpu")
    random.random(), np.random.rand(), torch.rand(1)
    now = checkpoint.capture_rng("cpu")
    assert now != rng
    for wrong in (rng | {generator: value(rng[generator])}, {}):
        refused("capture_rng gives", checkpoint.restore_rng, wrong)
    assert checkpoint.capture_rng("cpu") == now


def test_keeps_the_last_good_ones(tmp_path, monkeypatch):
    for step in range(1, 7):
        path = checkpoint.save(tmp_path, tiny(step), keep=2)
        (path / ".DS_Store").touch()  # what a file manager leaves stops nothing
        (path / ".ipynb_checkpoints").mkdir()
    assert checkpoint.load(path).step == 6 and steps(tmp_path) == [5, 6]
    flip(path / "model.safetensors")
    checkpoint.save(tmp_path, tiny(7), keep=2)
    assert steps(tmp_path) == [5, 6, 7], "a damaged one does not count"
    checkpoint.save(tmp_path, tiny(4), keep=1)
    assert steps(tmp_path) == [4, 5, 6, 7], "later ones neither count nor go"
    with monkeypatch.context() as patch:  # fewer are kept before the next one is written
        patch.setattr(os, "fsync", full)
        flip(tmp_path / "step-00000007" / "model.safetensors")
        refused("keep fewer", checkpoint.save, tmp_path, tiny(8), keep=1, error=checkpoint.StorageError)
        assert steps(tmp_path) == [5, 6, 7], "the last good one, and those after it"


def test_a_full_disk_leaves_what_the_run_goes_on_from(tmp_path, monkeypatch):
    for step in (11, 12, 14, 20):  # it has passed over 14 and 20, which are whole, and goes on from 12
        checkpoint.save(tmp_path, tiny(step), keep=4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        refused("", checkpoint.save, tmp_path, tiny(14), keep=1, error=checkpoint.StorageError)
    assert steps(tmp_path) == [12, 14, 20]
    checkpoint.save(tmp_path, tiny(15), keep=2)
    assert steps(tmp_path) == [14, 15, 20]


def test_deletes_nothing_that_it_did_not_write(tmp_path):
    first = checkpoint.save(tmp_path, tiny(1))
    (first / "notes.txt").write_text("mine")
    (tmp_path / "step-00000000").mkdir()
    (tmp_path / "step-00000000" / "photo.png").write_text("mine")
    (tmp_path / "step-1.bak").write_text("mine")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    checkpoint.save(outside, tiny(2))
    (tmp_path / "step-00000002").symlink_to(outside / "step-00000002")
    (tmp_path / "step-00000009").write_text("mine")
    everything = sorted(p for p in tmp_path.rglob("*"))
    for step in (3, 4):
        checkpoint.save(tmp_path, tiny(step), keep=1)
    assert set(everything) <= set(tmp_path.rglob("*"))
    checkpoint.save(tmp_path, tiny(1, 5.0), keep=1)  # in its place, with the user's file
    assert (first / "notes.txt").read_text() == "mine" and checkpoint.load(first).extra == {"value": 5.0}
    for step in (0, 2, 9):  # somebody's folder is not one to write into under a step's name, nor a link, nor a file
        (tmp_path / "step-00000000" / "state.json").write_text("{}")
        refused("move it away", checkpoint.save, tmp_path, tiny(step), keep=1, error=checkpoint.Foreign)
    assert set(everything) <= set(tmp_path.rglob("*"))


def test_what_a_killed_process_moved_aside_lives_until_its_successor_is_whole(tmp_path, monkeypatch):
    path = checkpoint.save_model(tmp_path / "m", {"n": torch.arange(3)}, {})
    shutil.copytree(path, tmp_path / ".m.replaced")
    (path / "notes.txt").write_text("mine")
    flip(path / "model.safetensors")  # a drive that copies file by file left half of it
    assert checkpoint.load_model(path).model["n"].tolist() == [0, 1, 2]
    monkeypatch.setattr(os, "rename", lambda a, b, rename=os.rename: full() if "unfinished" in str(a) else rename(a, b))
    refused("", checkpoint.save_model, path, {"n": torch.arange(5)}, {}, error=checkpoint.StorageError)
    assert checkpoint.load_model(path).model["n"].tolist() == [0, 1, 2]
    monkeypatch.undo()
    checkpoint.save_model(path, {"n": torch.arange(5)}, {})
    assert len(checkpoint.load_model(path).model["n"]) == 5
    assert names(tmp_path) == ["m"] and (path / "notes.txt").read_text() == "mine"


def test_a_published_model_is_neither_damaged_nor_overwritten(tmp_path):
    path = weights.save(GPT(CONFIG), tmp_path / "published")
    refused(r"a published model, gpt2: `weights.load` reads it", checkpoint.load_model, path, error=checkpoint.Foreign)
    refused("something else", checkpoint.save_model, path, {}, {}, error=checkpoint.Foreign)
    assert weights.load(path)
    (theirs := tmp_path / "theirs").mkdir()
    (theirs / "SHA256SUMS").write_text(f"{'0' * 64}  data.csv\n")
    refused("something else", checkpoint.save_model, theirs, {}, {}, error=checkpoint.Foreign)
    (theirs / "SHA256SUMS").write_text(f"{'0' * 64}  config.json\n")  # ours, its config.json lost
    assert checkpoint.load_model(checkpoint.save_model(theirs, {}, {}))
    ours = checkpoint.save_model(tmp_path / "ours", {}, {})
    refused(r"is a pretraining-a-gpt/model: `checkpoint.load_model` reads it", weights.load, ours)


def test_find_gives_the_newest_good_one_and_says_why_others_were_refused(tmp_path):
    assert checkpoint.find(tmp_path / "new").path is None
    assert checkpoint.find(tmp_path).refused == []
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, tiny(step, step), keep=9)
    flip(tmp_path / "step-00000004" / "state.json", 40)
    (tmp_path / "step-00000003" / "SHA256SUMS").unlink()
    (tmp_path / ".step-00000009.unfinished").mkdir()
    found = checkpoint.find(tmp_path)
    assert found.path == tmp_path / "step-00000002" and found.state.extra == {"value": 2}
    assert [path.name for path, _ in found.refused] == ["step-00000004", "step-00000003"]
    assert "sha256" in found.refused[0][1] and "did not end" in found.refused[1][1]
    os.rename(found.path, tmp_path / ".step-00000002.replaced")  # as a kill between two renames leaves it
    assert checkpoint.find(tmp_path).state.step == 2
    checkpoint.save(tmp_path, tiny(5), keep=9)
    assert not [name for name in names(tmp_path) if name.startswith(".")], "leftovers are cleaned by the next save"
    assert "step-00000002" in names(tmp_path), "and what was moved aside is put back"


class Killed(BaseException):
    """The process ends here: from now on nothing reaches the disk."""


def killed_at_every_moment(save: Callable[[int], object], look: Callable[[int, bool], None]) -> None:
    """`save` with 0, 1, 2... calls that change the disk let through, until it ends; then `look` at what is there."""

    def limited(real: Callable, calls: dict) -> Callable:
        def call(*given, **settings):
            if calls["left"] <= 0:
                raise Killed
            calls["left"] -= 1
            return real(*given, **settings)

        return call

    n, finished = 0, False
    while not finished:
        calls, act = {"left": n}, save(n)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("mkdir", "rename", "unlink", "rmdir", "fsync"):
                patch.setattr(os, name, limited(getattr(os, name), calls))
            with contextlib.suppress(Killed):
                act()
                finished = True
        look(n, finished)
        n += 1
    assert n > 12


@pytest.mark.parametrize("step", [3, 4])  # the same step again, and the next one
def test_a_good_one_exists_at_every_moment(tmp_path, step):
    def save(n: int) -> Callable:
        checkpoint.save(tmp_path / str(n), tiny(3, 1.0), keep=1)
        return lambda: checkpoint.save(tmp_path / str(n), tiny(step, 2.0), keep=1)

    def look(n: int, finished: bool) -> None:
        found = checkpoint.find(tmp_path / str(n))
        assert found.path is not None and found.refused == [], f"killed after {n} calls"
        value = found.state.extra["value"]
        assert (found.state.step, value) in {(3, 1.0), (step, 2.0)}
        assert same(dict(found.state.model), dict(tiny(3, value).model))
        assert value == 2.0 or not finished
        checkpoint.save(tmp_path / str(n), tiny(step, 3.0), keep=1)  # the next save cleans up
        assert names(tmp_path / str(n)) == [f"step-{step:08d}"]

    killed_at_every_moment(save, look)


def test_the_former_one_is_there_at_every_moment_though_its_successor_is_damaged(tmp_path):
    def save(n: int) -> Callable:
        path = checkpoint.save_model(tmp_path / f"m{n}", {"n": torch.arange(3)}, {})
        shutil.copytree(path, tmp_path / f".m{n}.replaced")
        flip(path / "model.safetensors")
        return lambda: checkpoint.save_model(path, {"n": torch.arange(5)}, {})

    def look(n: int, finished: bool) -> None:
        found = len(checkpoint.load_model(tmp_path / f"m{n}").model["n"])
        assert found == 5 if finished else found in (3, 5), f"killed after {n} calls"
        checkpoint.save_model(tmp_path / f"m{n}", {"n": torch.arange(7)}, {})
        assert len(checkpoint.load_model(tmp_path / f"m{n}").model["n"]) == 7
        assert not list(tmp_path.glob(f".m{n}.*"))

    killed_at_every_moment(save, look)


def test_what_was_loaded_does_not_lean_on_the_file(tmp_path):
    """A file that is mapped into memory shows what is written into it later; where its drive goes, the process dies."""
    checkpoint.save_model(tmp_path / "m", {"n": torch.arange(9.0)}, {})
    loaded = checkpoint.load_model(tmp_path / "m").model["n"]
    file = tmp_path / "m" / "model.safetensors"
    with open(file, "r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert loaded.tolist() == list(range(9))


FAULTS = {errno.ENOSPC: "make room", errno.EIO: "mount", errno.EROFS: "only be read"}


FULL = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
CALLS = ("os.fsync", "os.rename", "os.mkdir", "pathlib.Path.write_bytes")
ERRORS = (*(OSError(code, os.strerror(code)) for code in FAULTS), KeyboardInterrupt())


@pytest.mark.parametrize(("call", "error"), [*itertools.product(CALLS, ERRORS), ("safetensors.torch.save_file", FULL)])
def test_a_drive_that_fails_or_an_interruption_leaves_earlier_checkpoints_alone(tmp_path, monkeypatch, error, call):
    path = checkpoint.save(tmp_path, tiny(1))

    def fail(*args, **kwargs):
        if call.endswith("write_bytes"):
            args[0].touch()  # half of a file is there
        raise error

    monkeypatch.setattr(call, fail)
    for step in (1, 2):
        with pytest.raises((checkpoint.StorageError, KeyboardInterrupt)) as caught:
            checkpoint.save(tmp_path, tiny(step, 2.0))
        if not isinstance(error, KeyboardInterrupt):
            code = getattr(error, "errno", errno.ENOSPC)
            assert isinstance(caught.value, OSError) and caught.value.errno == code
            assert all(part in str(caught.value) for part in (str(tmp_path), os.strerror(code), FAULTS[code]))
    monkeypatch.undo()
    assert names(tmp_path) == ["step-00000001"]
    assert checkpoint.load(path).extra == {"value": 1.0}


def test_a_folder_that_vanishes(tmp_path, monkeypatch):
    drive = tmp_path / "drive"
    drive.mkdir()
    path = checkpoint.save(drive / "run", tiny(1))

    def vanish(file):
        shutil.rmtree(drive)
        file.touch()

    monkeypatch.setattr(Path, "write_bytes", lambda path, raw: vanish(path))
    refused("mount the drive", checkpoint.save, drive / "run", tiny(2), error=checkpoint.StorageError)
    monkeypatch.undo()
    for call in (
        lambda: checkpoint.save(drive / "run", tiny(2)),
        lambda: checkpoint.find(drive / "run"),
        lambda: checkpoint.load(path),
        lambda: checkpoint.save_model(drive / "model", tiny().model, {}),
        lambda: checkpoint.load_model(drive / "model"),
    ):
        refused("mount the drive", call, error=checkpoint.StorageError)
    assert not drive.exists(), "a drive that has gone must not come back as a folder"
    (tmp_path / "file").write_text("")
    for call in (lambda: checkpoint.save(tmp_path / "file", tiny()), lambda: checkpoint.find(tmp_path / "file")):
        refused("a file stands where", call, error=checkpoint.StorageError)


def test_a_network_drive_that_cannot_flush_folders_is_tolerated(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    checkpoint.load(checkpoint.save(tmp_path, tiny()))


def test_the_disk_has_every_file_before_the_name_appears(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, tiny(1))  # the folder of the run is there
    events, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(os.fstat(fd).st_ino), fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), rename(a, b)))
    path = checkpoint.save(tmp_path, tiny(2))
    assert set(events[:4]) == {file.stat().st_ino for file in path.iterdir()}
    assert events[4:] == [path.stat().st_ino, "rename", tmp_path.stat().st_ino]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"extra": {"a": {"b": {1, 2}}}}, "extra cannot be stored as JSON.*set"),
        ({"data": {"x": torch.ones(1)}}, r"data cannot be stored.*Tensor.*\.item\(\)"),
        ({"config": {1: 2}}, "config cannot be stored.*no str"),
        ({"config": {"betas": (0.9, 0.95)}}, "config cannot be stored.*a tuple"),
        ({"extra": {"best": math.inf}}, "extra cannot be stored.*JSON compliant"),
        ({"model": {"z": torch.ones(2, dtype=torch.complex64)}}, "z: expected a dense tensor of real.*complex64"),
        ({"model": {"z": torch.ones(2, device="meta")}}, "z: expected a dense tensor.*meta"),
        ({"model": {"z": torch.eye(2).to_sparse()}}, "z: expected a dense tensor.*sparse"),
        ({"model": {"z": 3}}, "z: expected a dense tensor.*got 3"),
        ({"model": {5: torch.ones(1)}}, "a tensor's name in letters that can be read, got 5"),
        ({"model": {"\ud800": torch.ones(1)}}, "a tensor's name in letters"),
        ({"model": {"z": torch.tensor([1.0, math.nan])}}, "NaN or infinity in z"),
        ({"model": {"z": torch.zeros((1,) * 65)}}, "z has 65 dimensions"),
        ({"extra": {"long": "x" * 2**24}}, "expected at most 4,194,304 bytes of JSON"),
        ({"model": {"__metadata__": torch.ones(1)}}, "a name that safetensors keeps"),
        ({"optimizer": {"state": {0: {"f": len}}, "param_groups": []}}, "optimizer cannot be stored.*builtin"),
    ],
)
def test_refuses_to_write_what_it_could_not_give_back(tmp_path, change, says):
    state = tiny()
    for name, value in change.items():
        setattr(state, name, value)
    refused(says, checkpoint.save, tmp_path / "run", state)
    assert names(tmp_path) == []


test_refuses_wrong_arguments = refusals(
    *((lambda keep=keep: checkpoint.save(Path("none"), tiny(), keep=keep), "keep must be") for keep in (0, True, 1.5)),
    *((lambda step=step: checkpoint.RunState(step, {}), "step must be") for step in (-1, True, 1.0)),
    (lambda: checkpoint.RunState(0, []), "expected dict for model, got list"),
    (lambda: checkpoint.RunState(0, {}, scaler=1), r"expected dict \| None for scaler"),
    (lambda: checkpoint.save_model(Path("none"), {}, {}, dtype=torch.int8), r"floating point.*got torch.int8"),
)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda s: s.model.pop("final_norm.bias"), r"missing: final_norm\.bias \(6,\) float32"),
        (lambda s: s.model.update(more=torch.ones(2)), r"left over: more \(2,\) float32"),
        (lambda s: s.model.update({"final_norm.bias": torch.ones(7)}), r"bias: expected \(6,\) float32, got \(7,\)"),
        (lambda s: s.model.update({"final_norm.bias": torch.ones(6).half()}), r"float32, got \(6,\) float16"),
        (lambda s: setattr(s, "optimizer", None), "has none; pass None"),
        (lambda s: s.optimizer["state"][3].pop("exp_avg_sq"), "parameter 3 lacks exp_avg_sq, which others have"),
        (lambda s: s.optimizer["state"].clear(), "expected moments after 3 updates, got none"),
        (lambda s: s.optimizer["state"].pop(5), "parameter 5 lacks exp_avg, exp_avg_sq, step, which others have"),
        (lambda s: s.optimizer["param_groups"].append({"params": [5]}), r"expected groups of \[16\] .*got \[16, 1\]"),
        (lambda s: s.optimizer["state"].update({99: {}}), "parameter 99, which no group has"),
        (lambda s: s.optimizer["state"][0].update(exp_avg=torch.ones(13, 7)), r"\(13, 6\) float32, got \(13, 7\)"),
        (lambda s: s.optimizer["state"][0].update(exp_avg=torch.ones(13, 6).double()), r"of parameter 0: .* float64"),
        (lambda s: rename(s.optimizer["param_groups"][0], "eps", "momentum"), "settings"),
        (lambda s: setattr(s, "model", {}), "and 9 more"),
    ],
)
def test_restore_says_what_does_not_fit_before_touching_anything(tmp_path, spoil, says):
    model, optimizer = new_run()
    train(model, optimizer, 1)
    state = checkpoint.load(saved(model, optimizer, tmp_path))
    state.model = dict(state.model)
    spoil(state)
    train(model, optimizer, 1)
    before = pickle.dumps((model.state_dict(), optimizer.state_dict()))
    refused(says, checkpoint.restore, model, optimizer, state)
    assert pickle.dumps((model.state_dict(), optimizer.state_dict())) == before


def test_a_model_of_its_own(tmp_path):
    model, _ = new_run()
    path = checkpoint.save_model(tmp_path / "m", model.state_dict(), {"emb_dim": 6}, {"loss": 2.5}, torch.bfloat16)
    assert names(path) == ["SHA256SUMS", "config.json", "model.safetensors"]
    found = checkpoint.load_model(path)
    assert (found.config, found.extra) == ({"emb_dim": 6}, {"loss": 2.5})
    assert found.model["head.weight"] is found.model["token_embedding.weight"]
    assert same(found.model["head.weight"], model.head.weight.detach().bfloat16())
    refused("bfloat16", checkpoint.restore, model, None, found)
    checkpoint.restore(model, None, found, same_dtype=False)
    assert torch.equal(model.head.weight, found.model["head.weight"].float())
    again = checkpoint.save_model(path, {"n": torch.arange(3)}, {}, dtype=torch.float16)
    assert again == path and checkpoint.load_model(path).model["n"].dtype == torch.int64
    large = {"n": torch.tensor([1e6])}
    refused(r"NaN or infinity in n \(torch.float16\)", checkpoint.save_model, path, large, {}, dtype=torch.float16)
    refused(r"expected SHA256SUMS|is missing", checkpoint.load, tmp_path, error=checkpoint.Foreign)
    flip(path / "model.safetensors")
    refused("sha256", checkpoint.load_model, path, error=checkpoint.Damaged)

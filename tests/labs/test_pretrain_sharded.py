"""A model in shards on two workers: the curve of one process, and checkpoints that any layout goes on from."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from helpers.gpt import GPT, IGNORED_TARGET, Evaluation, GPTConfig, TrainConfig, Trainer, Update, evaluate
from helpers.gpt.train._shards import in_shards, shard, unscored
from helpers.labs import pretrain
from helpers.labs.pretrain import _log
from helpers.labs.pretrain._run import Run
from helpers.storage import checkpoint
from tests.labs.test_pretrain import free_ports

# 5 rows are shares of 3 and 2, in pieces of 2 and 1: the second worker has a piece less; an odd number of rows to cut
TINY = ["emb_dim=6", "n_layers=2", "n_heads=2", "context_length=16", "drop_rate=0.0", "batch_size=5"]
TINY += ["micro_batch_size=2", "learning_rate=0.01", "eval_every=2", "save_every=2", "n_steps=6", "clip_norm=0.5"]
MOST_SECONDS = 120
WEIGHTS = "model/model.safetensors"
CASES = {"float32": (True, 1e-5), "bfloat16": (False, 3e-3), "float16": (True, 1e-3)}  # tied head, tolerance


def run(text: Path, out: Path, *more: str, change: tuple[str, ...] = ()) -> int:
    options = ["--text", str(text), "--set", *TINY, *change, "--out", str(out), "--device", "cpu", *more]
    return pretrain.main(options)


def small_trainer(precision: str, shard_on: torch.device | None = None, drop_rate: float = 0.0) -> Trainer:
    """Uneven shares, masked targets, documents in a row, and three batches to judge by, of which one worker has two."""
    torch.manual_seed(3)
    config = GPTConfig(
        vocab_size=101,
        context_length=13,
        emb_dim=22,
        n_heads=2,
        n_layers=2,
        drop_rate=drop_rate,
        tied_head=CASES[precision][0],
    )
    model = GPT(config)
    ids = torch.randint(101, (13, 14), generator=torch.Generator().manual_seed(5))
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[:, 3:5] = targets[1, 2:] = IGNORED_TARGET
    segments = torch.arange(13).expand(13, 13) // 4
    batches = [tuple(part[rows] for part in (inputs, targets, segments)) for rows in (slice(5), slice(5, 10))]
    judged = [(inputs[rows], targets[rows]) for rows in (slice(4), slice(4, 9), slice(9, 13))]
    settings = TrainConfig(4, learning_rate=0.01, micro_batch_size=2, clip_norm=0.5, eval_every=2, precision=precision)
    return Trainer(model, batches, settings, lambda: judged, shard_on)


# What each of the two workers does, in processes of their own


def worker(rank: int, ports: list[str], text: Path, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"COURSE_THREADS": "1", "COURSE_QUIET": "1"}
    warnings.simplefilter("error")

    def train(out: str, *more: str, change: tuple[str, ...] = ()) -> int:
        os.environ["MASTER_PORT"] = ports.pop()
        status = run(text, folder / out, *more, change=change)
        print(f"{out}: {status}", file=sys.stderr if rank == 0 else io.StringIO())
        return status

    with (
        open(folder / f"said{rank}.txt", "w") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        if train("two", "--shard") == 2:
            return
        best_of_its_own(rank, lambda: train("from_one", "--shard", change=("gradient_checkpointing=true",)))
        told_to_stop(rank, lambda: train("stopped", "--shard"))
        if rank == 0:
            shutil.copytree(folder / "stopped", folder / "to_ddp")
        train("to_ddp")
        written = best_fails_once(rank, lambda: train("full", "--shard"))
        (folder / f"written{rank}.json").write_text(json.dumps(written))
        at_loop(ports.pop(), rank, folder)


def told_to_stop(rank: int, train: Callable) -> None:
    """SIGTERM reaches the second worker alone, after its third update."""
    update = Trainer._update

    def then_stop(self: Trainer) -> Update:
        record = update(self)
        if rank == 1 and record.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", then_stop)
        train()


def best_of_its_own(rank: int, train: Callable) -> None:
    """Going on, the second worker takes another loss for the best: as if it did not see the best weights there."""
    load = Run._load

    def then_forget(self: Run, *given: object) -> None:
        load(self, *given)
        if rank == 1:
            self.best_loss = 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_load", then_forget)
        train()


def best_fails_once(rank: int, train: Callable) -> list[bool]:
    """The second time that the best weights are written, the disk is full, which the first worker alone sees.

    return  what this worker takes for written, time after time
    """
    save, calls, save_weights, written = checkpoint.save_model, [], Run._save_weights, []

    def fail_once(folder: Path, *given: object) -> None:
        calls.append(folder.name)
        if calls == ["best", "best"]:
            raise checkpoint.StorageError("disk full")
        assert rank == 0 and all(isinstance(value, Tensor) for value in given[0].values())
        save(folder, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_model", fail_once)
        patch.setattr(Run, "_save_weights", lambda *given: written.append(save_weights(*given)) or written[-1])
        train()
    return written


def at_loop(port: str, rank: int, folder: Path) -> None:
    os.environ["MASTER_PORT"] = port
    dist.init_process_group("gloo")
    cpu, found = torch.device("cpu"), {}
    for precision in CASES:
        trainer = small_trainer(precision, cpu)
        found[precision] = [asdict(record) for record in trainer]
        parts = trainer.optimizer.state.items()
        found[f"{precision} held"] = [[p.to_local().numel(), s["exp_avg"].to_local().numel()] for p, s in parts]
        moments = [state["exp_avg"] for state in trainer.state()["optimizer"]["state"].values()]
        found[f"{precision} moments"] = [part.numel() for part in moments if part is not None]
        weights = trainer.weights()
        found[f"{precision} norm"] = {k: v.norm().item() for k, v in weights.items() if v is not None}
    found["units"] = sum(hasattr(part, "reshard") for part in trainer._summed_loss.modules())
    found["gradients"] = gradients_held(small_trainer("float32", cpu))
    found["overflow"] = overflow_on_the_second(rank, small_trainer("float16", cpu))
    found["with dropout"] = [losses_with_dropout(rank, shard_on) for shard_on in (None, cpu)]
    found["refused"] = refused()
    (folder / f"loop{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def losses_with_dropout(rank: int, shard_on: torch.device | None) -> list[float]:
    trainer = small_trainer("float32", shard_on, drop_rate=0.3)
    torch.manual_seed(rank)
    return [record.loss_nats for record in trainer]


def gradients_held(trainer: Trainer) -> list[int]:
    trainer._gradients(*trainer._batch(0))
    return [p.grad.to_local().numel() for p in trainer.model.parameters()]


def overflow_on_the_second(rank: int, trainer: Trainer) -> dict:
    """A gradient that is infinite in one worker's part: does the other one leave its weights alone too?"""
    next(trainer.run())
    clean, before = trainer._gradients, [p.to_local().clone() for p in trainer.model.parameters()]

    def spoilt(*given: object) -> float:
        loss = clean(*given)
        if rank == 1:
            trainer.model.final_norm.weight.grad.to_local()[0] = math.inf
        return loss

    trainer._gradients = spoilt
    record = trainer._update()
    after = [p.to_local() for p in trainer.model.parameters()]
    same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return {"skipped": record.skipped, "same": same, "scale": trainer.scaler.get_scale() / record.loss_scale}


def refused() -> list[str]:
    """What is said of an optimizer's state of another model, and where the workers lack a collective."""
    trainer = small_trainer("float32", torch.device("cpu"))
    saved = trainer.optimizer.state_dict()
    saved["param_groups"] = saved["param_groups"][:1]

    def lacking(*_: object, **__: object) -> None:
        raise NotImplementedError("no reduce_scatter here\nat all")

    said = [error_of(lambda: in_shards(saved, trainer.optimizer))]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("reduce_scatter_tensor", "reduce_scatter_single"):  # as editions of torch call it
            patch.setattr(dist, name, lacking, raising=False)
        return [*said, error_of(lambda: small_trainer("float32", torch.device("cpu")))]


def error_of(act: Callable) -> str:
    try:
        act()
    except ValueError as error:
        return str(error)
    return "nothing was raised"


# What came of it


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "one.txt"
    path.write_text(" ".join(f"{'rain' if i % 3 else 'snow'} fell over {i % 7} hills" for i in range(90)))
    return path


@pytest.fixture(scope="module")
def one(text, tmp_path_factory) -> Path:
    """The folder of a run in one process that nothing disturbed."""
    out = tmp_path_factory.mktemp("one") / "out"
    assert run(text, out) == 0
    return out


@pytest.fixture(scope="module")
def folder(text, tmp_path_factory) -> Path:
    """Where the two workers have been."""
    folder = tmp_path_factory.mktemp("sharded")
    assert stopped_early(text, folder / "from_one") == 128 + signal.SIGTERM
    arguments = free_ports(6), text, folder
    both = torch.multiprocessing.start_processes(worker, arguments, nprocs=2, join=False, start_method="spawn")
    try:
        end = time.monotonic() + MOST_SECONDS
        while not both.join(timeout=1):
            assert time.monotonic() < end, f"a worker waits for the other one:\n{(folder / 'said0.txt').read_text()}"
    finally:
        for process in both.processes:
            process.kill()
    said = (folder / "said0.txt").read_text()
    if "these workers cannot shard" in said:
        pytest.skip(said.splitlines()[-2])
    return folder


def stopped_early(text: Path, out: Path) -> int:
    """A run in one process that is told to stop after three updates."""
    write = _log.Log.write

    def then_stop(self, record, seconds):
        write(self, record, seconds)
        if isinstance(record, Update) and record.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_log.Log, "write", then_stop)
        return run(text, out)


def same_curve(out: Path, one: Path) -> bool:
    """Every record of the two logs, and the weights at the end, within rounding."""
    ours, theirs = (_log.read_log(path / "log.jsonl") for path in (out, one))
    assert [(type(r), r.step, r.n_tokens) for r in ours] == [(type(r), r.step, r.n_tokens) for r in theirs]
    assert [r.loss_nats for r in ours] == pytest.approx([r.loss_nats for r in theirs], rel=1e-5)
    norms = [[r.grad_norm for r in records if isinstance(r, Update)] for records in (ours, theirs)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    weights = [checkpoint.load_model(path / "model").model for path in (out, one)]
    assert weights[0].keys() == weights[1].keys()
    return all(torch.allclose(weights[0][name], weights[1][name], atol=2e-4) for name in weights[0])


def test_shards_give_the_curve_of_one_process(folder, one):
    said = (folder / "said0.txt").read_text()
    assert said.count("two: 0\n") == 1 and "float32 on cpu, in shards on 2 workers" in said
    assert same_curve(folder / "two", one)
    assert (folder / "said1.txt").read_text() == ""


def test_what_they_save_is_whole_and_of_the_same_format(folder, one):
    for name in (WEIGHTS, "best/model.safetensors"):
        assert (folder / "two" / name).stat().st_size == (one / name).stat().st_size  # a tied matrix once
    ours, theirs = (checkpoint.find(path / "checkpoints").state for path in (folder / "two", one))
    assert ours.config == theirs.config  # the layout is no part of the run
    assert ours.model.keys() == theirs.model.keys()
    assert ours.model["head.weight"] is ours.model["token_embedding.weight"]
    assert ours.optimizer["param_groups"] == theirs.optimizer["param_groups"]
    assert ours.optimizer["state"].keys() == theirs.optimizer["state"].keys()
    for key, state in ours.optimizer["state"].items():
        for name, value in state.items():
            expected = theirs.optimizer["state"][key][name]
            assert type(value) is type(expected) and value.shape == expected.shape
            torch.testing.assert_close(value, expected, rtol=1e-2, atol=1e-5)


def test_shards_go_on_from_one_process(folder, one):
    """With activation checkpointing switched on, too."""
    assert "from_one: 0\n" in (folder / "said0.txt").read_text()
    assert "going on from step 3" in (folder / "said0.txt").read_text()
    assert same_curve(folder / "from_one", one)


def test_one_process_goes_on_from_shards(folder, one, text, tmp_path, capsys):
    """They were stopped by a signal that reached one of them."""
    assert "stopped: 143\n" in (folder / "said0.txt").read_text()
    shutil.copytree(folder / "stopped", tmp_path / "out")
    assert run(text, tmp_path / "out") == 0
    assert "going on from step 3" in capsys.readouterr().out
    assert same_curve(tmp_path / "out", one)


def test_whole_copies_go_on_from_shards(folder, one):
    assert "to_ddp: 0\n" in (folder / "said0.txt").read_text()
    assert same_curve(folder / "to_ddp", one)


def test_workers_agree_on_the_best_though_one_alone_writes(folder, one):
    said = (folder / "said0.txt").read_text()
    assert "full: 0\n" in said and said.count("the weights were not written: disk full") == 2  # at once, and at the end
    for rank in (0, 1):
        written = json.loads((folder / f"written{rank}.json").read_text())
        assert written == [True, False, True, True, True]  # the best after 0, 2, 4 and 6 updates, then the last
    assert same_curve(folder / "full", one)
    assert checkpoint.load_model(folder / "full" / "best").extra["step"] == 6


@pytest.mark.parametrize("precision", CASES)
def test_the_loop_in_every_precision(folder, precision):
    found = [json.loads((folder / f"loop{rank}.json").read_text()) for rank in (0, 1)]
    trainer = small_trainer(precision)
    records = [asdict(record) for record in trainer]
    for ours in (found[0][precision], found[1][precision]):
        assert [r.keys() for r in ours] == [r.keys() for r in records]
        for mine, theirs in zip(ours, records, strict=True):
            for name, value in theirs.items():
                expected = pytest.approx(value, rel=CASES[precision][1]) if isinstance(value, float) else value
                assert mine[name] == expected, name
    norms = {name: weight.norm().item() for name, weight in trainer.weights().items()}
    assert found[0][f"{precision} norm"] == pytest.approx(norms, rel=1e-2)
    assert found[0][f"{precision} moments"] == [p.numel() for p in trainer.optimizer.state]
    assert found[1][f"{precision} norm"] == {} and found[1][f"{precision} moments"] == []  # one alone has them whole


def test_dropout_draws_in_shards_what_it_draws_in_whole_copies(folder):
    """Though the second worker has a piece less, and has to go through the layers as often as the first one."""
    copies, shards = json.loads((folder / "loop0.json").read_text())["with dropout"]
    assert shards == pytest.approx(copies, rel=1e-5)


def test_each_holds_half_of_weights_gradients_and_moments(folder):
    found = [json.loads((folder / f"loop{rank}.json").read_text()) for rank in (0, 1)]
    for precision in CASES:
        sizes = [p.numel() for p in small_trainer(precision).model.parameters()]
        for kind in (0, 1):
            held = [[parts[kind] for parts in worker[f"{precision} held"]] for worker in found]
            assert sorted(map(sum, zip(*held, strict=True))) == sorted(sizes)
            assert all(sum(of_worker) < 0.52 * sum(sizes) for of_worker in held)
    gradients = [worker["gradients"] for worker in found]
    sizes = [p.numel() for p in small_trainer("float32").model.parameters()]
    assert list(map(sum, zip(*gradients, strict=True))) == sizes and max(map(sum, gradients)) < 0.52 * sum(sizes)


def test_each_block_is_a_unit_and_all_else_another(folder):
    assert json.loads((folder / "loop0.json").read_text())["units"] == 2 + 1


def test_an_overflow_in_one_part_is_skipped_by_all(folder):
    for rank in (0, 1):
        found = json.loads((folder / f"loop{rank}.json").read_text())["overflow"]
        assert found == {"skipped": True, "same": True, "scale": 0.5}


def test_what_cannot_be_sharded_is_said(folder):
    state, collective = json.loads((folder / "loop1.json").read_text())["refused"]
    assert state.startswith("expected the optimizer's state of ")
    assert "does not do it on cpu over gloo (no reduce_scatter here). Take a newer torch" in collective


def test_one_process_has_nothing_to_divide(text, tmp_path, capsys):
    assert run(text, tmp_path / "out", "--shard") == 2
    said = capsys.readouterr().err
    assert "torchrun --nproc_per_node 2 -m helpers.labs.pretrain" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="over several workers, got one"):
        shard(nn.Linear(2, 2), [], torch.device("cpu"))


def test_a_batch_that_scores_nothing():
    inputs, targets, segments = torch.arange(24).view(3, 2, 4)
    row = unscored((inputs, targets, segments))
    assert [part.tolist() for part in row] == [[[0, 1, 2, 3]], [[IGNORED_TARGET] * 4], [[16, 17, 18, 19]]]
    model = GPT(GPTConfig(vocab_size=24, context_length=4, emb_dim=4, n_heads=1, n_layers=1))
    batches = [(inputs, targets)]
    assert evaluate(model, [*batches, unscored((inputs, targets))]) == evaluate(model, batches)
    assert isinstance(next(iter(small_trainer("float32"))), Evaluation)

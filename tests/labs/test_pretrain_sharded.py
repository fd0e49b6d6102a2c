"""A sharded model on two ranks: the curve of one process, and checkpoints that any layout goes on from."""

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
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from helpers.gpt import GPT, IGNORED_TARGET, PRECISIONS, GPTConfig, Record, TrainConfig, Trainer, Update, evaluate
from helpers.labs import distributed
from helpers.storage import checkpoint
from tests.labs import runs
from tests.labs.runs import free_ports
from tests.support import refused

# 5 sequences are shares of 3 and 2, in micro-batches of 2 and 1: rank 1 has one less; an odd number of rows to cut
CHANGE = ("emb_dim=6", "n_layers=2", "drop_rate=0.0", "batch_size=5", "micro_batch_size=2", "eval_every=2")
CHANGE += ("n_steps=6", "clip_norm=0.5")

MOST_SECONDS = 400  # of both ranks, on a machine that does much else
# tied head; relative tolerance: micro-batches of other sizes add up in another order, and what matmuls find is rounded
# to the dtype, whose neighbouring numbers are eps apart: 2**-7 of the number in bfloat16, 2**-10 in float16
CASES = {p: (p != "bfloat16", max(torch.finfo(getattr(torch, p)).eps, 1e-5)) for p in PRECISIONS}


def run(text: Path, out: Path, *more: str, change: tuple[str, ...] = (), after: Callable | None = None) -> int:
    return runs.run(text, out, *more, change=CHANGE + change, after=after)


def small_trainer(precision: str, sharded: bool | None = None, drop_rate: float = 0.0) -> Trainer:
    """Uneven shares, masked targets, documents in a row, and three batches to judge by, of which one rank has two.

    sharded  over the ranks of the group, or not; None: in one process
    """
    torch.manual_seed(3)
    shape = {"vocab_size": 101, "context_length": 13, "emb_dim": 22, "n_heads": 2, "n_layers": 2}
    model = GPT(GPTConfig(**shape, drop_rate=drop_rate, tied_head=CASES[precision][0]))
    ids = torch.randint(101, (13, 14), generator=torch.Generator().manual_seed(5))
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[:, 3:5] = targets[1, 2:] = IGNORED_TARGET
    segments = torch.arange(13).expand(13, 13) // 4
    batches = [tuple(part[rows] for part in (inputs, targets, segments)) for rows in (slice(5), slice(5, 10))]
    judged = [(inputs[rows], targets[rows]) for rows in (slice(4), slice(4, 9), slice(9, 13))]
    settings = TrainConfig(4, learning_rate=0.01, micro_batch_size=2, clip_norm=0.5, eval_every=2, precision=precision)
    given = (model, batches, settings, lambda: judged)
    if sharded is None:
        return Trainer(*given)
    return distributed.DistributedTrainer(*given, device=torch.device("cpu"), sharded=sharded)


def one_rank(rank: int, ports: list[str], text: Path, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"COURSE_THREADS": "1", "COURSE_QUIET": "1"}
    warnings.simplefilter("error")

    def train(out: str, *more: str, change: tuple[str, ...] = (), after: Callable | None = None) -> int:
        os.environ["MASTER_PORT"] = ports.pop()
        status = run(text, folder / out, *more, change=change, after=after)
        print(f"{out}: {status}", file=sys.stderr if rank == 0 else io.StringIO())
        return status

    with (
        open(folder / f"said{rank}.txt", "w") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        if train("two", "--shard") == 2:
            return
        with another_best_on_the_second(rank):
            train("from_one", "--shard", change=("gradient_checkpointing=true",))
        train("stopped", "--shard", after=tell_the_second(rank))
        if rank == 0:
            shutil.copytree(folder / "stopped", folder / "to_ddp")
        train("to_ddp")
        with full_disk_once(rank):
            train("full", "--shard")
        at_loop(ports.pop(), rank, folder)


def tell_the_second(rank: int) -> Callable[[Record], None]:
    """SIGTERM reaches rank 1 alone, after its third update."""

    def then_stop(record: Record) -> None:
        if rank == 1 and isinstance(record, Update) and record.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    return then_stop


@contextlib.contextmanager
def another_best_on_the_second(rank: int) -> Iterator[None]:
    """Going on, rank 1 takes another loss for the best: as if it did not see the files that rank 0 sees."""
    find = checkpoint.find

    def another(folder: Path, **given: object) -> checkpoint.Found:
        found = find(folder, **given)
        found.state.extra["best_loss"] = 0.0
        return found

    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            patch.setattr(checkpoint, "find", another)
        yield


@contextlib.contextmanager
def full_disk_once(rank: int) -> Iterator[None]:
    """The second time that the best weights are written, the disk is full, which rank 0 alone sees."""
    save, calls = checkpoint.save_model, []

    def fail_once(folder: Path, *given: object) -> None:
        calls.append(folder.name)
        if calls == ["best", "best"]:
            raise checkpoint.StorageError("disk full")
        assert rank == 0 and all(isinstance(value, Tensor) for value in given[0].values())
        save(folder, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_model", fail_once)
        yield


def at_loop(port: str, rank: int, folder: Path) -> None:
    os.environ["MASTER_PORT"] = port
    dist.init_process_group("gloo")
    found = {}
    for precision in CASES:
        trainer = small_trainer(precision, sharded=True)
        found[precision] = [asdict(record) for record in trainer]
        parts = trainer.optimizer.state.items()
        found[f"{precision} held"] = [[p.to_local().numel(), s["exp_avg"].to_local().numel()] for p, s in parts]
        moments = [state["exp_avg"] for state in trainer.state()["optimizer"]["state"].values()]
        found[f"{precision} moments"] = [part.numel() for part in moments if part is not None]
        weights = distributed.weights(trainer)
        found[f"{precision} norm"] = {k: v.norm().item() for k, v in weights.items() if v is not None}
    found["gradients"] = gradients_held(small_trainer("float32", sharded=True))
    found["overflow"] = overflow_on_the_second(rank, small_trainer("float16", sharded=True))
    found["with dropout"] = [losses_with_dropout(rank, sharded) for sharded in (False, True)]
    found["refused"] = what_is_refused()
    (folder / f"loop{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def losses_with_dropout(rank: int, sharded: bool) -> list[float]:
    trainer = small_trainer("float32", sharded, drop_rate=0.3)
    torch.manual_seed(rank)
    return [record.loss_nats for record in trainer]


def gradients_held(trainer: Trainer) -> list[int]:
    held, parameters = [], list(trainer.model.parameters())
    trainer.optimizer.register_step_pre_hook(lambda *_: held.extend(p.grad.to_local().numel() for p in parameters))
    list(trainer.run(until=1))
    return held


def overflow_on_the_second(rank: int, trainer: Trainer) -> dict:
    """A gradient that is infinite in one rank's part: does the other one leave its weights alone too?"""
    list(trainer.run(until=1))
    unscale, before = trainer.scaler.unscale_, [p.to_local().clone() for p in trainer.model.parameters()]

    def spoilt(optimizer: torch.optim.Optimizer) -> None:
        if rank == 1:
            trainer.model.final_norm.weight.grad.to_local()[0] = math.inf
        unscale(optimizer)

    trainer.scaler.unscale_ = spoilt
    (record,) = trainer.run(until=2)
    after = [p.to_local() for p in trainer.model.parameters()]
    same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return {"skipped": record.skipped, "same": same, "scale": trainer.scaler.get_scale() / record.loss_scale}


def what_is_refused() -> list[str]:
    """What is said of an optimizer's state of another model, and where the ranks lack a collective."""
    alone = small_trainer("bfloat16")  # without a tied head
    list(alone.run(until=1))

    def lacking(*_: object, **__: object) -> None:
        raise NotImplementedError("no reduce_scatter here\nat all")

    with pytest.raises(ValueError) as of_another:
        small_trainer("float32", sharded=True).load_state(alone.state())
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError) as of_the_group:
        for name in ("reduce_scatter_tensor", "reduce_scatter_single"):  # as editions of torch call it
            patch.setattr(dist, name, lacking, raising=False)
        small_trainer("float32", sharded=True)
    return [str(of_another.value), str(of_the_group.value)]


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
    """Where the two ranks have been."""
    folder = tmp_path_factory.mktemp("sharded")
    assert run(text, folder / "from_one", after=tell_the_second(rank=1)) == 128 + signal.SIGTERM
    arguments = free_ports(6), text, folder
    both = torch.multiprocessing.start_processes(one_rank, arguments, nprocs=2, join=False, start_method="spawn")
    try:
        end = time.monotonic() + MOST_SECONDS
        while not both.join(timeout=1):
            assert time.monotonic() < end, f"one rank waits for the other:\n{(folder / 'said0.txt').read_text()}"
    finally:
        for process in both.processes:
            process.kill()
    said = (folder / "said0.txt").read_text()
    if "these ranks cannot shard" in said:
        pytest.skip(said.splitlines()[-2])
    return folder


@pytest.fixture(scope="module")
def said(folder) -> str:
    return (folder / "said0.txt").read_text()


@pytest.fixture(scope="module")
def found(folder) -> list[dict]:
    """What each rank has found at its loop."""
    return [json.loads((folder / f"loop{rank}.json").read_text()) for rank in (0, 1)]


def assert_same_run(out: Path, one: Path) -> None:
    """Every record of the two logs, and the weights at the end, within rounding."""
    runs.assert_same_curve(out, one)
    ours, theirs = (checkpoint.load_model(path / "model").model for path in (out, one))
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-4) for name in ours)


def test_shards_give_the_curve_of_one_process(folder, one, said):
    assert said.count("two: 0\n") == 1 and "float32 on cpu, sharded on 2 ranks" in said
    assert_same_run(folder / "two", one)
    assert (folder / "said1.txt").read_text() == ""


def test_what_they_save_is_whole_and_of_the_same_format(folder, one):
    for name in (runs.WEIGHTS, "best/model.safetensors"):
        assert (folder / "two" / name).stat().st_size == (one / name).stat().st_size  # a tied matrix once
    ours, theirs = (checkpoint.find(path / "checkpoints").state for path in (folder / "two", one))
    assert ours.config == theirs.config  # the layout is no part of the run
    assert ours.model.keys() == theirs.model.keys()
    assert ours.model["head.weight"] is ours.model["token_embedding.weight"]
    assert ours.optimizer["param_groups"] == theirs.optimizer["param_groups"]
    torch.testing.assert_close(ours.optimizer["state"], theirs.optimizer["state"], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("name", ["from_one", "to_ddp"])
def test_shards_go_on_from_one_process_and_whole_copies_from_shards(folder, one, said, name):
    """With activation checkpointing switched on in the former, too."""
    assert f"{name}: 0\n" in said and said.count("going on from step 3") == 2
    assert_same_run(folder / name, one)


def test_one_process_goes_on_from_shards(folder, one, said, text, tmp_path, capsys):
    """They were stopped by a signal that reached one of them."""
    assert "stopped: 143\n" in said
    shutil.copytree(folder / "stopped", tmp_path / "out")
    assert run(text, tmp_path / "out") == 0 and "going on from step 3" in capsys.readouterr().out
    assert_same_run(tmp_path / "out", one)


def test_ranks_agree_on_the_best_though_one_alone_writes(folder, one, said):
    assert "full: 0\n" in said and said.count("the weights were not written: disk full") == 1
    assert_same_run(folder / "full", one)
    assert checkpoint.load_model(folder / "full" / "best").extra["step"] == 6


@pytest.mark.parametrize("precision", CASES)
def test_the_loop_in_every_precision(found, precision):
    trainer = small_trainer(precision)
    records = [asdict(record) for record in trainer]
    for ours in (found[0][precision], found[1][precision]):
        assert [r.keys() for r in ours] == [r.keys() for r in records]
        for mine, theirs in zip(ours, records, strict=True):
            for name, value in theirs.items():
                expected = pytest.approx(value, rel=CASES[precision][1]) if isinstance(value, float) else value
                assert mine[name] == expected, name
    norms = {name: weight.norm().item() for name, weight in trainer.model.state_dict().items()}
    # a bias begins at 0, and Adam moves each entry by about the rate: few that rounding turns around show at once
    assert found[0][f"{precision} norm"] == pytest.approx(norms, rel=1e-2 if precision == "float32" else 3e-2)
    assert found[0][f"{precision} moments"] == [p.numel() for p in trainer.optimizer.state]
    assert found[1][f"{precision} norm"] == {} and found[1][f"{precision} moments"] == []  # one alone has them whole


def test_each_holds_half_of_weights_gradients_and_moments(found):
    for precision in CASES:
        sizes = [p.numel() for p in small_trainer(precision).model.parameters()]
        for kind in (0, 1):
            held = [[parts[kind] for parts in of_rank[f"{precision} held"]] for of_rank in found]
            assert sorted(map(sum, zip(*held, strict=True))) == sorted(sizes)
            assert all(sum(parts) < 0.52 * sum(sizes) for parts in held)
    gradients = [of_rank["gradients"] for of_rank in found]
    sizes = [p.numel() for p in small_trainer("float32").model.parameters()]
    assert list(map(sum, zip(*gradients, strict=True))) == sizes and max(map(sum, gradients)) < 0.52 * sum(sizes)


def test_odd_moments_of_two_ranks(found):
    """Rank 1 has a micro-batch less, and has to go through the blocks as often as rank 0."""
    copies, shards = found[0]["with dropout"]
    assert shards == pytest.approx(copies, rel=1e-5), "dropout draws in shards what it draws in whole copies"
    for of_rank in found:  # an overflow in one part is skipped by all
        assert of_rank["overflow"] == {"skipped": True, "same": True, "scale": 0.5}
    state, collective = found[1]["refused"]
    assert state.startswith("expected moments of 28 parameters, got 29")
    assert "does not do it on cpu over gloo (no reduce_scatter here). Take a newer torch" in collective


def test_one_process_has_nothing_to_divide(text, tmp_path, capsys):
    assert run(text, tmp_path / "out", "--shard") == 2
    said = capsys.readouterr().err
    assert "torchrun --nproc_per_node 2 -m helpers.labs.pretrain" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    refused("expected several processes to share the work, got one", small_trainer, "float32", sharded=True)


def test_a_batch_that_scores_nothing():
    inputs, targets, segments = torch.arange(24).view(3, 2, 4)
    spare = distributed.unscored((inputs, targets, segments))
    assert [part.tolist() for part in spare] == [[[0, 1, 2, 3]], [[IGNORED_TARGET] * 4], [[16, 17, 18, 19]]]
    model = GPT(GPTConfig(vocab_size=24, context_length=4, emb_dim=4, n_heads=1, n_layers=1))
    batches = [(inputs, targets)]
    assert evaluate(model, [*batches, distributed.unscored((inputs, targets))]) == evaluate(model, batches)

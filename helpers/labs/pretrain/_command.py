"""The command: options, several processes, signals, and what is said."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist

from helpers import runtime
from helpers.gpt import NonFiniteError, Workers
from helpers.labs.pretrain._console import Console
from helpers.labs.pretrain._plan import Plan, read_plan
from helpers.labs.pretrain._run import FAILED, Run
from helpers.labs.pretrain._together import together

RESUME = ("auto", "must", "never")
BAD_INPUT = 2
DEFAULT_STEPS = 1000
# Gloo's thread frees the tensors of the last exchange, for which it needs the interpreter's lock. In torch 2.6 leaving
# the group waits for that thread and keeps the lock, so that each may wait for the other for ever; this long it has
# time to be done before. Not needed once the oldest torch has https://github.com/pytorch/pytorch/pull/154976.
LAST_TENSORS_S = 0.05


def main(arguments: list[str] | None = None) -> int:
    """Train as the options say. Returns the exit status: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n.

    SystemExit: options that do not parse, as argparse has it, also with status 2.
    """
    options = parser().parse_args(arguments)
    console = Console()  # until the workers have joined, nobody else can say what ails this one
    joined = False
    try:
        joined = _join_workers(options.device)
        console = Console(Workers.current().rank)
        plan, device = together(Workers.current(), lambda: _settings(options))
        return Run(plan, options, device, console).go()
    except NonFiniteError as error:
        console.complain(f"stopped: {error}")
        return FAILED
    except ValueError as error:
        console.complain(f"pretrain: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        console.complain("pretrain: interrupted before training began; nothing was lost")
        return 128 + signal.SIGINT
    finally:
        if joined:
            if dist.get_backend() == "gloo":
                time.sleep(LAST_TENSORS_S)
            dist.destroy_process_group()


def parser() -> argparse.ArgumentParser:
    """The options, each with its help."""
    p = argparse.ArgumentParser(
        prog="python -m helpers.labs.pretrain",
        description="Pretrain a GPT on text files. Run the same command again after whatever happened: it goes on "
        "from the last good checkpoint. Under torchrun, all processes train one model: "
        "torchrun --nproc_per_node 2 -m helpers.labs.pretrain ...",
    )
    p.add_argument("--text", nargs="+", required=True, metavar="FILE", help="UTF-8; form feeds between documents")
    p.add_argument("--validation", nargs="+", default=[], metavar="FILE", help="else a tenth of the texts is held out")
    p.add_argument("--config", default="course-small", help="a model preset, or a JSON file with a whole plan")
    p.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="e.g. n_steps=500 emb_dim=160")
    p.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="of this run alone: ids, checkpoints, log, weights; its parent must be there",
    )
    p.add_argument(
        "--also",
        type=Path,
        metavar="DIR",
        help="a second folder for checkpoints, on a drive that outlives this one; its parent must be there",
    )
    p.add_argument(
        "--resume", nargs="?", const="must", default="auto", choices=RESUME,
        help="auto (default): go on where there is something to go on from; must: refuse to begin anew; "
        "never: refuse a folder that has checkpoints",
    )  # fmt: skip
    p.add_argument(
        "--shard", action="store_true",
        help="under torchrun, divide weights, gradients and moments among the processes (FSDP) instead of keeping all "
        "of them on each (DDP): for a model that one card cannot hold. More is sent, so that where it fits, leave it "
        "out. The same numbers and the same checkpoints: a run may go on with it or without it",
    )  # fmt: skip
    p.add_argument("--threads", type=int, help=f"of the CPU; else {runtime.THREADS_VARIABLE}, else at most two")
    p.add_argument("--minutes", type=float, help="save and stop after so many")
    p.add_argument("--device", help="cpu, cuda, cuda:1, mps; else a graphics card where there is one")
    return p


def _settings(options: argparse.Namespace) -> tuple[Plan, torch.device]:
    if options.minutes is not None and not options.minutes > 0:
        raise ValueError(f"--minutes must be above 0, got {options.minutes}")
    if options.shard and Workers.current().count == 1:
        raise ValueError(
            "--shard divides a model among several processes, and this is one: start them by "
            "torchrun --nproc_per_node 2 -m helpers.labs.pretrain ..., or leave --shard out"
        )
    if options.threads is not None and options.threads < 1:
        raise ValueError(f"--threads must be at least 1, got {options.threads}")
    device = _device(options.device)
    precision = str(runtime.pick_precision(device)).removeprefix("torch.")
    return read_plan(options.config, options.set, {"n_steps": DEFAULT_STEPS, "precision": precision}), device


def _device(name: str | None) -> torch.device:
    try:
        return torch.empty(0, device=name or runtime.pick_device()).device  # among several workers: each its own card
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: not to be had here ({str(error).splitlines()[0]})") from error


def _n_workers() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _join_workers(device: str | None) -> bool:
    """Join the process group that torchrun describes in the environment; False where this process is alone."""
    if _n_workers() == 1:
        return False
    cuda = torch.cuda.is_available() and (device or "cuda") == "cuda"
    if not cuda and device not in (None, "cpu"):
        raise ValueError(f"--device {device}: several workers take cpu, or cuda for a card each")
    if cuda:
        card = int(os.environ.get("LOCAL_RANK", "0"))
        if card >= torch.cuda.device_count():
            raise ValueError(f"worker {card} has no card, there are {torch.cuda.device_count()}: start fewer workers")
        torch.cuda.set_device(card)
    dist.init_process_group("nccl" if cuda else "gloo")
    return True

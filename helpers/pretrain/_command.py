"""The command: options, several processes, signals, and what is said."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from helpers import runtime
from helpers.checkpoint import CheckpointError
from helpers.pretrain._plan import read_plan
from helpers.pretrain._run import Run
from helpers.train import NonFiniteError

RESUME = ("auto", "must", "never")
BAD_INPUT, FAILED = 2, 1


def main(arguments: list[str] | None = None) -> int:
    """Train as the options say. Returns the exit status: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n."""
    options = parser().parse_args(arguments)
    joined = _join_workers()
    try:
        device = _device(options.device)
        precision = str(runtime.pick_precision(device)).removeprefix("torch.")
        plan = read_plan(options.config, options.set, {"n_steps": 1000, "precision": precision})
        return Run(plan, options, device).go()
    except NonFiniteError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return FAILED
    except (CheckpointError, ValueError) as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return BAD_INPUT
    finally:
        if joined:
            dist.destroy_process_group()


def parser() -> argparse.ArgumentParser:
    """The options, each with its help."""
    p = argparse.ArgumentParser(
        prog="python -m helpers.pretrain",
        description="Pretrain a GPT on text files. Run the same command again after whatever happened: it goes on "
        "from the last good checkpoint. Under torchrun, all processes train one model.",
    )
    p.add_argument("--text", nargs="+", required=True, metavar="FILE", help="UTF-8; form feeds between documents")
    p.add_argument("--validation", nargs="+", default=[], metavar="FILE", help="else a tenth of the texts is held out")
    p.add_argument("--config", default="course-small", help="a model preset, or a JSON file with a whole plan")
    p.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="e.g. n_steps=500 emb_dim=160")
    p.add_argument("--out", required=True, type=Path, metavar="DIR", help="checkpoints, log and weights")
    p.add_argument(
        "--also", type=Path, metavar="DIR", help="a second folder for checkpoints: a drive that outlives the machine"
    )
    p.add_argument(
        "--resume", nargs="?", const="must", default="auto", choices=RESUME,
        help="auto (default): go on where there is something to go on from; must: refuse to begin anew; "
        "never: refuse a folder that has checkpoints",
    )  # fmt: skip
    p.add_argument("--minutes", type=float, help="save and stop after so many")
    p.add_argument("--device", help="cpu, cuda, cuda:1, mps; else a graphics card where there is one")
    return p


def _device(name: str | None) -> torch.device:
    if name is None:
        device = runtime.pick_device()
        local = os.environ.get("LOCAL_RANK")
        return torch.device("cuda", int(local)) if device.type == "cuda" and local else device
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: not to be had here ({str(error).splitlines()[0]})") from error


def _join_workers() -> bool:
    """Join the process group that torchrun describes in the environment; False where this process is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    return True

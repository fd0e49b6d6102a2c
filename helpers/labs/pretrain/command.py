"""The command: its options, and what its exit status says."""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from helpers import runtime
from helpers.gpt import NonFiniteError, Record
from helpers.labs import distributed
from helpers.labs.pretrain.log import complain
from helpers.labs.pretrain.plan import Plan, read_plan
from helpers.labs.pretrain.run import FAILED, Run

BAD_INPUT = 2
GOES_ON = ". The same command with --set gradient_checkpointing=true goes on and takes less"
LESS = ". In another folder micro_batch_size=1, a shorter context_length, a smaller model or less text takes less"


def main(arguments: list[str] | None = None, after_record: Callable[[Record], None] | None = None) -> int:
    """Train as the options say. Returns the exit status: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n.

    after_record  called in every process with each record, once it stands in the log

    SystemExit: options that do not parse, as argparse has it, also with status 2.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a path that the terminal cannot show stops nothing
        with suppress(AttributeError):  # none is there, or not Python's own
            stream.reconfigure(errors="backslashreplace")
    plan = None
    try:
        distributed.join(options.device)
        plan, device = distributed.together(lambda: _settings(options))
        return Run(plan, options, device, after_record).go()
    except NonFiniteError as error:
        complain(f"stopped: {error}")
        return FAILED
    except ValueError as error:
        complain(f"pretrain: {error}")
        return BAD_INPUT
    except (RuntimeError, MemoryError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0][:200]
        if runtime.out_of_memory(error):
            ways_out = LESS if plan is None or plan.gradient_checkpointing else GOES_ON + LESS
            said = f"out of memory ({cause}){ways_out}"
        elif distributed.lost(error):
            said = f"another process has ended or cannot be reached ({cause}); the same command goes on"
        else:
            raise
        who = f"rank {distributed.rank()}: " if distributed.world_size() > 1 else ""
        print(f"pretrain: {who}{said}", file=sys.stderr)  # from every process: it may have happened to one alone
        return FAILED
    except KeyboardInterrupt:
        complain("pretrain: interrupted before training began; nothing was lost")
        return 128 + signal.SIGINT
    finally:
        distributed.leave()


def _parser() -> argparse.ArgumentParser:
    """The options, each with its help."""
    p = argparse.ArgumentParser(
        prog="python -m helpers.labs.pretrain",
        description="Pretrain a GPT on text files. Run the same command again after whatever happened: it goes on "
        "from the last good checkpoint. Under torchrun, all processes train one model: "
        "torchrun --nproc_per_node 2 -m helpers.labs.pretrain ...",
    )
    add = p.add_argument
    add("--text", nargs="+", required=True, metavar="FILE", help="UTF-8, form feeds or <|endoftext|> between documents")
    add("--validation", nargs="+", default=[], metavar="FILE", help="else a tenth of the texts is held out")
    add("--config", default="course-small", help="a model preset, or a JSON file with a whole plan")
    add("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="e.g. n_steps=500 emb_dim=160")
    add("--out", required=True, metavar="DIR", help="of this run alone: ids, checkpoints, log, weights; "
        "its parent must be there")  # fmt: skip
    add("--also", metavar="DIR", help="a second folder for checkpoints, on a drive that outlives this "
        "one; its parent must be there")  # fmt: skip
    add("--shard", action="store_true", help="under torchrun, divide weights, gradients and moments among the "
        "processes (FSDP) instead of keeping all of them on each (DDP): for a model that one GPU cannot hold. More is "
        "sent, so that where it fits, leave it out. The same numbers and the same checkpoints: a run may go on with it "
        "or without it")  # fmt: skip
    add("--threads", type=int, help=f"of the CPU; else {runtime.THREADS_VARIABLE}, else at most two")
    add("--minutes", type=float, help="save and stop after so many")
    add("--device", help="cpu, cuda, cuda:1, mps; else a GPU where there is one")
    return p


def _settings(options: argparse.Namespace) -> tuple[Plan, torch.device]:
    if "" in (options.out, options.also):
        raise ValueError("--out and --also name folders, got ''")
    options.out, options.also = Path(options.out), options.also and Path(options.also)
    if options.minutes is not None and not options.minutes > 0:
        raise ValueError(f"--minutes must be above 0, got {options.minutes}")
    if options.shard and distributed.world_size() == 1:
        raise ValueError(
            "--shard divides a model among several processes, and this is one: start them by "
            "torchrun --nproc_per_node 2 -m helpers.labs.pretrain ..., or leave --shard out"
        )
    if options.threads is not None and not 1 <= options.threads <= runtime.MAX_THREADS:
        raise ValueError(f"--threads must be in [1, {runtime.MAX_THREADS}], got {options.threads}")
    try:  # among several ranks: each its own GPU
        tried = torch.zeros(1, device=options.device or runtime.pick_device())
        tried.item()  # "meta" holds no numbers
        device = tried.device
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {options.device}: not to be had here ({reason})") from error
    precision = str(runtime.pick_precision(device)).removeprefix("torch.")
    return read_plan(options.config, options.set, precision), device

"""One rung in a process of its own: `python -m helpers.labs.speed._worker '{"switches": {...}, ...}'`.

The last line of its output is JSON: the numbers, or why there are none.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util

import torch
from torch import Tensor, nn

from helpers import runtime
from helpers.gpt import GPT, GPTConfig, TrainConfig, make_optimizer
from helpers.labs.measuring import machine
from helpers.labs.measuring.device import NO_BFLOAT16, check_device, multiplies_bfloat16, peak_bytes, wait
from helpers.labs.speed._model import compile_blocks, mean_loss, pad_vocabulary, switched
from helpers.labs.speed._rungs import Switches

SEED = 0
N_CHECKED = 3  # first updates, on the same batches for all rungs, that are compared; they are not timed
LEARNING_RATE = 3e-4
REPEATED = 0.5  # share of tokens that repeat the one before: something to learn by looking back
GIB = 2**30
LOSS_SCALE = 2.0**14  # of float16 at first: an update that overflowed would be skipped, and later losses be others
MAX_WORDS = 120  # characters of the allocator's message


@dataclass(frozen=True)
class Job:
    """What one process measures; fields as `climb` has them, `timed_rows` the rows of a batch while the clock runs."""

    switches: dict
    config: dict
    batch_size: int
    timed_rows: int
    context_length: int
    updates: int
    warmup: int
    device: str
    memory_limit_gib: float | None = None


def measure(job: Job) -> dict:
    """The rung's report.

    return  {"status": "ok", "chip", "card_bytes", "threads", "precision", "timed_rows", "seconds" of each timed update,
            "compile_s", "peak_bytes", "losses" and "grad_norms" (`gradient_lengths`) of the first N_CHECKED updates},
            or "skipped" or "failed" with the reason; "out_of_memory" says that it was that
    """
    check_device(job.device)
    lab = runtime.start(SEED)
    switches = Switches(**job.switches)
    report = {"threads": lab.threads} | _chip(job)
    if reason := missing(switches, job.device):
        return report | {"status": "skipped", "reason": reason}
    if switches.compiled:
        import_compiler()
    try:
        return report | {"status": "ok"} | _train(job, switches)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        what = (str(error) or "nothing more to be had").splitlines()[0][:MAX_WORDS]
        return report | {"status": "failed", "reason": f"out of memory: {what}", "out_of_memory": True}


def import_compiler() -> None:
    """So that its memory counts as the imports', not as the model's."""
    import torch._inductor.compile_fx  # noqa: F401


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; the CPU's allocator says so in words only."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in ("allocate memory", "not enough memory", "out of memory"))


def missing(switches: Switches, device: str) -> str | None:
    """What the machine lacks for these switches, in words; None: nothing."""
    capability = torch.cuda.get_device_capability() if device == "cuda" else None
    if switches.tf32 and (capability is None or capability < runtime.MIN_BF16_CAPABILITY):
        return "no TF32: it came with the cards of compute capability 8.0"
    if switches.half and device == "cpu" and not multiplies_bfloat16(device):
        return NO_BFLOAT16["reason"]
    if switches.compiled and not _compiler(device):
        return "no Triton, which torch.compile needs on a card" if device == "cuda" else "no C++ compiler (g++)"
    return None


def _compiler(device: str) -> bool:
    if device == "cuda":
        return util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def precision_of(switches: Switches, device: str) -> str:
    """Of the matrix products: "float32", "tf32", "bfloat16" or "float16"."""
    if switches.half:
        return "bfloat16" if multiplies_bfloat16(device) else "float16"
    return "tf32" if switches.tf32 else "float32"


def _chip(job: Job) -> dict:
    if job.device == "cpu":
        return {"chip": machine.cpu_model(machine.read_cpuinfo()), "card_bytes": None}
    facts = torch.cuda.get_device_properties(0)
    if job.memory_limit_gib is not None:
        share = job.memory_limit_gib * GIB / facts.total_memory
        if share > 1:
            raise ValueError(f"memory_limit_gib {job.memory_limit_gib} is more than {facts.name} has")
        torch.cuda.set_per_process_memory_fraction(share)
    return {"chip": facts.name, "card_bytes": facts.total_memory}


def _train(job: Job, switches: Switches) -> dict:
    precision = precision_of(switches, job.device)
    torch.set_float32_matmul_precision("high" if switches.tf32 else "highest")
    at_rest = peak_bytes(job.device)
    config = GPTConfig(**job.config)
    model = GPT(config)
    if switches.padded_vocabulary:
        pad_vocabulary(model)
    model = model.to(job.device).train()
    if switches.compiled:
        compile_blocks(model)
    larger = job.timed_rows != job.batch_size
    warmup = max(job.warmup, 1) if larger else job.warmup  # a new size allocates, and compiles, once more
    rows = [job.batch_size] * N_CHECKED + [job.timed_rows] * (warmup + job.updates)
    batches = make_batches(config.vocab_size, rows, job.context_length, job.device)
    losses, norms, seconds = [], [], []
    with switched(model, switches, config.vocab_size):
        update = make_update(model, config.vocab_size, switches, job.device)
        for i, batch in enumerate(batches):
            start = time.perf_counter()
            loss, lengths = update(*batch, with_lengths=i < N_CHECKED)
            wait(job.device)
            seconds.append(time.perf_counter() - start)
            if lengths:
                losses.append(loss)
                norms += lengths
    timed = seconds[-job.updates :]
    firsts = [seconds[0], seconds[N_CHECKED]] if larger else [seconds[0]]
    return {
        "precision": precision,
        "timed_rows": job.timed_rows,
        "seconds": timed,
        "compile_s": max(sum(firsts) - len(firsts) * min(timed), 0.0) if switches.compiled else None,
        "peak_bytes": peak_bytes(job.device) - (at_rest if job.device == "cpu" else 0),
        "losses": losses,
        "grad_norms": norms,
    }


def make_update(
    model: GPT, vocab_size: int, switches: Switches, device: str
) -> Callable[..., tuple[float, list[float]]]:
    """(token_ids, targets, with_lengths) -> the loss before the update it makes, and its `gradient_lengths` or none."""
    optimizer = make_optimizer(model, TrainConfig(1, learning_rate=LEARNING_RATE))
    if not switches.fused_optimizer:
        groups = [{name: group[name] for name in ("params", "weight_decay")} for group in optimizer.param_groups]
        betas = optimizer.defaults["betas"]
        optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=betas, foreach=False, fused=False)
    precision = precision_of(switches, device)
    dtype = getattr(torch, precision) if switches.half else torch.float32
    scaler = torch.amp.GradScaler(device, init_scale=LOSS_SCALE, enabled=precision == "float16")

    def update(token_ids: Tensor, targets: Tensor, with_lengths: bool = False) -> tuple[float, list[float]]:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=dtype, enabled=switches.half):
            loss = mean_loss(model, token_ids, targets, vocab_size, switches.chunked_loss)
        scaler.scale(loss).backward()
        lengths = []
        if with_lengths:
            scaler.unscale_(optimizer)
            lengths = gradient_lengths(model)
        scaler.step(optimizer)
        scaler.update()
        return loss.item(), lengths

    return update


def gradient_lengths(model: GPT) -> list[float]:
    """Of the whole gradient, of its part for queries and keys, and for values.

    In a fresh model attention moves the loss by little, and the whole gradient too: its own parts show a wrong mask or
    scale at once.
    """
    whole = [parameter.grad for parameter in model.parameters()]
    qkv = [block.attention.qkv.weight.grad for block in model.blocks]  # (3 C, C): queries, keys, values
    scores, values = zip(*(grad.split([2 * grad.shape[1], grad.shape[1]]) for grad in qkv), strict=True)
    return [float(nn.utils.get_total_norm(part)) for part in (whole, scores, values)]


def make_batches(vocab_size: int, rows: list[int], context_length: int, device: str) -> list[tuple[Tensor, Tensor]]:
    """A batch of each number of rows: (token_ids, targets), both (rows, T) int64; the same for every rung.

    Small ids are more frequent and half the tokens repeat the one before, so that a loss can fall and that a model
    which does not look back, or looks ahead, has another one.
    """
    generator = torch.Generator().manual_seed(SEED)
    batches = []
    for n in rows:
        shape = (n, context_length + 1)
        fresh = (torch.rand(shape, generator=generator) ** 3 * vocab_size).long()
        new = torch.rand(shape, generator=generator) >= REPEATED
        places = torch.arange(shape[1]).expand(shape)
        ids = fresh.gather(1, places.where(new, 0).cummax(1).values).to(device)
        batches.append((ids[:, :-1], ids[:, 1:]))
    return batches


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))

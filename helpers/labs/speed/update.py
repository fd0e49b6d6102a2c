"""One step of the ablation in a process of its own: a GPT with the changes so far, its update, its time, its memory."""

import math
import shutil
import statistics
import time
from collections.abc import Callable, Collection
from importlib import import_module, util

import torch
from torch import Tensor, nn

from helpers import runtime
from helpers.gpt import (
    GPT,
    CausalSelfAttention,
    GPTConfig,
    TrainConfig,
    loss_from_hidden,
    make_optimizer,
    next_token_loss,
)
from helpers.labs.speed.harness import Skip
from helpers.labs.speed.machine import multiplies_bfloat16, peak_bytes, wait
from helpers.storage import weights

STEPS = {  # name -> what it changes; each with the changes before it
    "float32": "all logits at once, attention step by step, AdamW parameter by parameter",
    "tf32": "float32 products in TF32 on tensor cores",
    "half": "products in bfloat16, or float16 with a gradient scaler",
    "fused-attention": "attention in one kernel",
    "fused-adamw": "AdamW in one pass over memory",
    "chunked-loss": "the logits of a part of the tokens at a time",
    "compile": "the blocks through torch.compile",
    "padded-vocabulary": "logits for a multiple of 64 ids",
    "larger-batch": "more sequences in a batch",
}
GPU_ONLY = {"tf32"}
SEED = 0
N_CHECKED = 3  # first updates, on the same batches for all steps, that are compared; they are not timed
LEARNING_RATE = 3e-4
REPEATED = 0.5  # share of tokens that repeat the one before: something to learn by looking back
LOSS_SCALE = 2.0**14  # of float16 at first: an update that overflowed would be skipped, and later losses be others
MULTIPLE = 64  # ids to which a vocabulary is padded: tensor cores take their columns in blocks

Loss = Callable[[GPT, Tensor, Tensor], Tensor]  # (model, token_ids, targets) -> mean nats per token


def measure_update(
    changes: Collection[str],
    config: dict,
    batch_size: int,
    timed_batch_size: int,
    context_length: int,
    updates: int,
    device: str,
) -> dict:
    """A job of the harness; arguments as for `ablate`.

    changes           names in STEPS, those of the steps before this one that are kept and its own
    timed_batch_size  sequences of a batch while the clock runs
    return  {"precision", "batch_size", "speeds" of the timed updates in tokens/s, "tokens_per_s" their median,
            "compile_s", "peak_bytes", and of the first N_CHECKED updates "losses" and "grad_norms" (`gradient_norms`)}
    """
    config = GPTConfig(**config)
    require(changes, device)
    if "compile" in changes:
        import_module("torch._inductor.compile_fx")  # its memory is the imports', not the model's
    torch.set_float32_matmul_precision("high" if "tf32" in changes else "highest")
    at_rest = peak_bytes(device)
    update = make_update(build(config, changes, device), loss_of(config.vocab_size, changes), changes)
    larger = timed_batch_size != batch_size
    sizes = [batch_size] * N_CHECKED + [timed_batch_size] * (larger + updates)  # a new size compiles once more
    losses, norms, seconds = [], [], []
    for i, batch in enumerate(make_batches(config.vocab_size, sizes, context_length, device)):
        start = time.perf_counter()
        loss, found = update(*batch, with_norms=i < N_CHECKED)
        wait(device)
        seconds.append(time.perf_counter() - start)
        losses += [loss] * (i < N_CHECKED)
        norms += found
    timed = seconds[-updates:]
    speeds = [timed_batch_size * context_length / s for s in timed]
    firsts = [seconds[0], seconds[N_CHECKED]] if larger else [seconds[0]]
    return {
        "precision": precision_of(changes, device),
        "batch_size": timed_batch_size,
        "speeds": speeds,
        "tokens_per_s": statistics.median(speeds),
        "compile_s": max(sum(firsts) - len(firsts) * min(timed), 0.0) if "compile" in changes else None,
        "peak_bytes": peak_bytes(device) - (at_rest if device == "cpu" else 0),
        "losses": losses,
        "grad_norms": norms,
    }


def require(changes: Collection[str], device: str) -> None:
    """Skip: what the machine lacks for these changes."""
    capability = torch.cuda.get_device_capability() if device == "cuda" else None
    if "tf32" in changes and (capability is None or capability < runtime.MIN_BF16_CAPABILITY):
        raise Skip("no TF32: it came with GPUs of compute capability 8.0")
    if "half" in changes and device == "cpu" and not multiplies_bfloat16(device):
        raise Skip("no bfloat16 instructions")
    if "compile" in changes and device == "cuda" and util.find_spec("triton") is None:
        raise Skip("no Triton, which torch.compile needs on a GPU")
    if "compile" in changes and device == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise Skip("no C++ compiler (g++)")


def precision_of(changes: Collection[str], device: str) -> str:
    """Of the matmuls: "float32", "tf32", "bfloat16" or "float16"."""
    if "half" in changes:
        return "bfloat16" if multiplies_bfloat16(device) else "float16"
    return "tf32" if "tf32" in changes else "float32"


class UnfusedAttention(nn.Module):
    """Causal attention as a book writes it, with the weights of `fused`: each product keeps its (B, H, T, T) result.

    (B, T, C) -> (B, T, C), without dropout. ValueError: segments or a cache, which the ablation has no use for.
    """

    def __init__(self, fused: CausalSelfAttention) -> None:
        super().__init__()
        self.n_heads, self.qkv, self.out_proj = fused.n_heads, fused.qkv, fused.out_proj

    def forward(self, x: Tensor, *context: object) -> Tensor:
        if any(part is not None for part in context):
            raise ValueError("attention step by step has no cache and no segments")
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_heads, C // self.n_heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        attn_scores = (queries @ keys.transpose(2, 3)).masked_fill(future, -math.inf)  # (B, H, T, T)
        attn_weights = torch.softmax(attn_scores / queries.shape[3] ** 0.5, dim=-1)
        return self.out_proj((attn_weights @ values).transpose(1, 2).reshape(B, T, C))


def build(
    config: GPTConfig, changes: Collection[str], device: str, attention: type[nn.Module] = UnfusedAttention
) -> GPT:
    """A fresh GPT, ready to train. `attention` replaces the model's own where that is not to be fused."""
    model = GPT(config)
    if "padded-vocabulary" in changes:
        model = weights.resize_vocabulary(model, math.ceil(config.vocab_size / MULTIPLE) * MULTIPLE)
    if "fused-attention" not in changes:
        for block in model.blocks:
            block.attention = attention(block.attention)
    model = model.to(device).train()
    if "compile" in changes:  # what is left as it is: the embeddings, the last norm and the loss
        for block in model.blocks:
            block.compile(dynamic=False)  # a larger batch gets a graph of its own instead of one for any size
    return model


def loss_of(vocab_size: int, changes: Collection[str]) -> Loss:
    """The mean loss, every target scored. Ids from `vocab_size` on are padding, and never given a probability."""

    def all_logits(model: GPT, token_ids: Tensor, targets: Tensor) -> Tensor:
        logits = model(token_ids)
        if "padded-vocabulary" in changes:
            logits[..., vocab_size:] = -math.inf
        return next_token_loss(logits, targets)

    def in_chunks(model: GPT, token_ids: Tensor, targets: Tensor) -> Tensor:
        hidden = model.hidden(token_ids)
        return loss_from_hidden(hidden, model.head.weight, targets, vocab_size=vocab_size) / targets.numel()

    return in_chunks if "chunked-loss" in changes else all_logits


def make_update(
    model: GPT, mean_loss: Loss, changes: Collection[str], learning_rate: float = LEARNING_RATE
) -> Callable[..., tuple[float, list[float]]]:
    """(token_ids, targets, with_norms) -> the loss before the update it makes, and its `gradient_norms` or none."""
    optimizer = make_optimizer(model, TrainConfig(1, learning_rate=learning_rate))
    if "fused-adamw" not in changes:
        groups = [{name: group[name] for name in ("params", "weight_decay")} for group in optimizer.param_groups]
        betas = optimizer.defaults["betas"]
        optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, foreach=False, fused=False)
    device = model.head.weight.device.type
    precision = precision_of(changes, device)
    dtype = getattr(torch, precision) if "half" in changes else torch.float32
    scaler = torch.amp.GradScaler(device, init_scale=LOSS_SCALE, enabled=precision == "float16")

    def update(token_ids: Tensor, targets: Tensor, with_norms: bool = False) -> tuple[float, list[float]]:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=dtype, enabled="half" in changes):
            loss = mean_loss(model, token_ids, targets)
        scaler.scale(loss).backward()
        norms = []
        if with_norms:
            scaler.unscale_(optimizer)
            norms = gradient_norms(model)
        scaler.step(optimizer)
        scaler.update()
        return loss.item(), norms

    return update


def gradient_norms(model: GPT) -> list[float]:
    """Of the whole gradient, of its part for queries and keys, and for values.

    In a fresh model attention moves loss and gradient by little: its own parts show a wrong mask or scale at once.
    """
    whole = [parameter.grad for parameter in model.parameters()]
    qkv = [block.attention.qkv.weight.grad for block in model.blocks]  # (3 C, C): queries, keys, values
    scores, values = zip(*(grad.split([2 * grad.shape[1], grad.shape[1]]) for grad in qkv), strict=True)
    return [float(nn.utils.get_total_norm(part)) for part in (whole, scores, values)]


def make_batches(vocab_size: int, sizes: list[int], context_length: int, device: str) -> list[tuple[Tensor, Tensor]]:
    """A batch of each size B: (token_ids, targets), both (B, T) int64; the same for every step.

    Half the tokens repeat the one before, so that a model that does not look back, or looks ahead, has another loss.
    """
    generator = torch.Generator().manual_seed(SEED)
    batches = []
    for n in sizes:
        shape = (n, context_length + 1)
        fresh = (torch.rand(shape, generator=generator) ** 3 * vocab_size).long()
        new = torch.rand(shape, generator=generator) >= REPEATED
        positions = torch.arange(shape[1]).expand(shape)
        ids = fresh.gather(1, positions.where(new, 0).cummax(1).values).to(device)
        batches.append((ids[:, :-1], ids[:, 1:]))
    return batches

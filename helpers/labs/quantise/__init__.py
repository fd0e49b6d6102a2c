"""Weights in a few bits: rounded to the nearest of 2**n levels in blocks of 32, and what that does to a model.

`python -m helpers.labs.quantise` makes the record of notebook 11, or goes on with one that was interrupted.
"""

import copy
import itertools
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helpers import storage
from helpers.gpt import (
    GPT,
    evaluating,
    require_kind,
    require_known,
    require_whole,
    scoring_batches,
    token_losses,
    tokenizer,
)
from helpers.labs import pretrained, texts
from helpers.labs.metrics import block_bootstrap
from helpers.labs.recorded import FOLDER, Recorded

BLOCK = 32  # weights that share a scale
SCALE_BITS = 16  # of a scale, and of a minimum: float16
KINDS = ("embedding", "attention", "feed-forward")
RECORD = FOLDER / "quantisation_cpu.json"
AXES = {"model": ("course", "smollm2-135m"), "part": (*KINDS, "all"), "n_bits": (8, 6, 5, 4, 3)}
N_SCORED, CONTEXTS = 2048, {"course": 128, "smollm2-135m": 1024}  # the beginning of the English story
BLOCK_TOKENS = 64  # of the bootstrap: about four sentences


def rounded(weights: Tensor, n_bits: int, *, minimum: bool = True) -> Tensor:
    """Each weight as the nearest of the levels of its block: scale * code + minimum, both float16.

    weights  any shape, of a multiple of 32 numbers; blocks run along the last axis
    n_bits   of a code, from 2 to 8
    minimum  True: the 2**n_bits levels run evenly from the block's smallest weight to its largest.
             False: 2**n_bits - 1 levels run evenly around 0, as far as the largest size

    ValueError: no multiple of 32, NaN or infinity, numbers too large for float16, or n_bits out of range.
    Source: ggml's Q4_1 and Q5_1 (with a minimum, 4 and 5 bits) and Q8_0 (without, 8 bits), to which it is equal.
    """
    require_kind(Tensor, weights=weights)
    require_whole(n_bits=n_bits, at_least=2)
    if n_bits > 8 or weights.numel() % BLOCK or not weights.isfinite().all():
        raise ValueError(
            f"expected a multiple of {BLOCK} finite weights and n_bits from 2 to 8, got {weights.numel()} of shape "
            f"{tuple(weights.shape)} and {n_bits}"
        )
    n_bits = int(n_bits)  # numpy's int8 would overflow in 2**n_bits
    blocks = weights.detach().float().reshape(-1, BLOCK)
    if minimum:
        lowest, highest = blocks.aminmax(dim=1, keepdim=True)
        scales = (highest - lowest) / (2**n_bits - 1)
        # half and above is rounded up, as ggml does it
        codes = ((blocks - lowest) * _inverse(scales) + 0.5).floor().clamp(0, 2**n_bits - 1)
    else:
        lowest, scales = torch.zeros(()), blocks.abs().amax(dim=1, keepdim=True) / (2 ** (n_bits - 1) - 1)
        steps = blocks * _inverse(scales)
        codes = steps.sign() * (steps.abs() + 0.5).floor()  # half is rounded away from 0
    scales, lowest = scales.half(), lowest.half()
    if not (scales.isfinite().all() and lowest.isfinite().all()):
        raise ValueError(f"weights up to {blocks.abs().max():.3g} need a scale that float16 does not hold")
    return (codes * scales.float() + lowest.float()).view(weights.shape).to(weights)


def bits_per_weight(n_bits: int) -> float:
    """What a weight takes with its part of the scale and the minimum."""
    return n_bits + 2 * SCALE_BITS / BLOCK


def _inverse(scales: Tensor) -> Tensor:
    """1 / scale; 0 where all weights of a block are equal, or so close that 1 / scale is infinite."""
    return torch.where((1 / scales).isfinite(), 1 / scales, 0)


def kind_of(name: str) -> str | None:
    """The kind of a parameter of GPT, by its name; None for norms and biases, which nobody rounds."""
    if not name.endswith(".weight") or "norm" in name:
        return None
    if name.startswith(("token_embedding", "position_embedding", "head")):
        return "embedding"
    return "attention" if ".attention." in name else "feed-forward"


def quantised_copy(model: GPT, bits: Mapping[str, int]) -> GPT:
    """A copy of the model with the matrices of some kinds rounded.

    bits  kind -> n_bits; a kind that is not named stays as it is
    ValueError: a kind that is none of KINDS; and as for `rounded`.
    """
    _require_kinds(model, bits)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in changed.named_parameters():
            if (kind := kind_of(name)) in bits:
                parameter.copy_(rounded(parameter, bits[kind]))
    return changed


@torch.no_grad()
def relative_error(model: GPT, changed: GPT) -> float:
    """Root mean square of what rounding changed, beside that of the weights that it changed."""
    squares = [
        torch.stack([(a - b).double().square().sum(), a.double().square().sum()])
        for a, b in zip(model.parameters(), changed.parameters(), strict=True)
        if not torch.equal(a, b)
    ]
    lost, whole = torch.stack(squares).sum(0) if squares else (torch.tensor(0.0), torch.tensor(1.0))
    return float((lost / whole).sqrt())


def size_bytes(model: GPT, bits: Mapping[str, int]) -> float:
    """Of all weights, a tied matrix once, with 16 bits each where `bits` names no other.

    ValueError: a kind that is none of KINDS.
    """
    _require_kinds(model, bits)
    per_weight = {kind: bits_per_weight(n) for kind, n in bits.items()}
    return sum(p.numel() * per_weight.get(kind_of(name), 16) for name, p in model.named_parameters()) / 8


@torch.no_grad()
def surprisals(model: GPT, token_ids: Tensor, context: int) -> Tensor:
    """(N - 1,) nats of each id but the first, in neighbouring windows of `context`: (N,) -> one number for each."""
    losses = []
    with evaluating(model):
        for inputs, targets in scoring_batches(token_ids, context, batch_size=1):
            losses.append(token_losses(model(inputs), targets)[targets >= 0])
    return torch.cat(losses)


def _require_kinds(model: GPT, bits: Mapping[str, int]) -> None:
    require_kind(GPT, model=model)
    require_kind(Mapping, bits=bits)
    require_known("kind of matrix", bits, KINDS)


def measure(name: str, part: str, n_bits: int) -> dict[str, float]:
    """One point: the mean loss as loaded and after rounding, their difference with its 95 % interval, error, megabytes.

    The difference is taken token by token, so that what makes a token hard drops out of the error bar.
    FileNotFoundError: the published model was not fetched.
    """
    model, token_ids, before = _loaded(name)
    bits = dict.fromkeys(KINDS if part == "all" else (part,), n_bits)
    changed = quantised_copy(model, bits)
    more = block_bootstrap(surprisals(changed, token_ids, CONTEXTS[name]) - before, BLOCK_TOKENS)
    numbers = {"loss_nats": float(before.double().mean()), "more": more.mean, "low": more.low, "high": more.high}
    numbers |= {"error": relative_error(model, changed), "megabytes": size_bytes(model, bits) / 1e6}
    return {key: float(f"{value:.5g}") for key, value in numbers.items()}


@cache
def _loaded(name: str) -> tuple[GPT, Tensor, Tensor]:
    """The model as it is, the ids that are scored after the first, and the surprisal of each under it."""
    if name == "course":
        model, encoding = pretrained.load(), tokenizer.gpt2()
    else:
        if (folder := storage.weights.find(name)) is None:
            raise FileNotFoundError(f"{name} is not here: python -m helpers.storage.weights {name} fetches it once")
        model, encoding = storage.weights.load(folder), storage.weights.read_tokenizer(folder)
    token_ids = torch.tensor(encoding.encode(texts.story())[: N_SCORED + 1])
    return model, token_ids, surprisals(model, token_ids, CONTEXTS[name])


def _protocol() -> dict[str, Any]:
    """What all points have in common, and the axes of the grid."""
    axes = {name: list(values) for name, values in AXES.items()}
    text = "English story, its first tokens after the first, neighbouring windows"
    return {"axes": axes, "text": text, "n_scored": N_SCORED, "contexts": CONTEXTS, "bootstrap_block": BLOCK_TOKENS}


def record(path: Path = RECORD) -> None:
    """Measure every point that `path` does not have yet.

    ValueError: the file is of other runs. FileNotFoundError: the published model was not fetched.
    """
    settings = itertools.product(*AXES.values())
    _RECORDED.fill(path, settings, lambda setting: {"setting": list(setting), **measure(*setting)})


# runs of a setting, in the order of AXES, and what `measure` gives
MEASURED = ("loss_nats", "more", "low", "high", "error", "megabytes")
_RECORDED = Recorded("quantise", RECORD, "two models whose weights are rounded", _protocol, MEASURED)
read = _RECORDED.read

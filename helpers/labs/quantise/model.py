"""A model whose matrices are rounded, by kind: how large it is then, how far its weights are off, what it predicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from helpers.gpt import GPT, evaluating, require_kind, require_known, scoring_batches, token_losses
from helpers.labs.quantise.blocks import bits_per_weight, rounded

KINDS = ("embedding", "attention", "feed-forward")


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

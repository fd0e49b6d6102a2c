"""A copy of a model whose weights lie so that one token at a time reads them fast: writing is waiting for memory."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.model import GPT


def for_reading(model: GPT, dtype: torch.dtype = torch.float32) -> GPT:
    """A copy in evaluation mode, for `generate` and its like only: its weights are laid out for products of few rows.

    dtype   of weights and activations; bfloat16 halves what a token has to read, and rounds to 8 bits
    return  a model with the same calls. Its head is a copy of its own even where the model's is tied, and it can
            neither be trained nor saved

    Writing one token multiplies each weight by a single number and is as fast as weights arrive from memory. On a CPU
    a float32 matrix is kept as (in, out) where it is wider than deep, and a bfloat16 one in the blocks that oneDNN
    likes; without its bfloat16 instructions, and on a GPU, only the type changes.
    """
    reader = copy.deepcopy(model).to(dtype).eval().requires_grad_(False)
    if reader.token_embedding.weight.device.type == "cpu":
        for module in list(reader.modules()):
            for name, part in module.named_children():
                if isinstance(part, nn.Linear):
                    setattr(module, name, _laid_out(part))
    return reader


def _laid_out(linear: nn.Linear) -> nn.Module:
    weight, bias = linear.weight.detach(), linear.bias
    if weight.dtype == torch.bfloat16 and _has_blocks():
        return _BlockedLinear(weight, bias)
    if weight.dtype == torch.float32 and weight.shape[0] >= weight.shape[1]:
        return _WideLinear(weight, bias)
    return linear


def _has_blocks() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _WideLinear(nn.Module):
    """A linear layer whose matrix is stored as (in, out): MKL reads it almost twice as fast for a single row."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.columns, self.bias = weight.T.contiguous().T, bias  # (out, in) as seen, (in, out) in memory

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.columns, self.bias)


class _BlockedLinear(nn.Module):
    """A linear layer whose matrix oneDNN has put into its blocks once, where a plain one is read in the wrong order."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.blocks = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 1)  # laid out for one row
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.blocks, self.bias, "none", [], "")

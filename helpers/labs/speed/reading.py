"""A copy of a model whose weights lie so that one token at a time reads them fast: decoding is bound by memory."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.gpt import GPT
from helpers.labs.speed.machine import multiplies_bfloat16

MIN_SIZE = 2**16  # numbers in a matrix that is worth a second thread
FIRST_FAST_ROWS = (2, 13)  # the torch that this was measured with; before it nothing is known


def for_reading(model: GPT, dtype: torch.dtype = torch.float32) -> GPT:
    """A copy in evaluation mode, for `generate` and its like only: its weights are laid out for matmuls of few rows.

    dtype   of weights and activations; bfloat16 halves what a token has to read, and rounds to 8 bits
    return  a model with the same calls, whose head is a copy of its own; it can neither be trained nor saved

    One token at a time is as fast as weights arrive from memory. On a CPU a large float32 matrix is cut into one piece
    per thread (MKL gives a single row to one thread), as (in, out) where it is wider than deep. A bfloat16 one is read
    row by row; without bfloat16 instructions, in an older torch, and on a GPU only the type changes.
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
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if weight.dtype == torch.bfloat16 and version >= FIRST_FAST_ROWS and multiplies_bfloat16("cpu"):
        return _RowLinear(weight, bias)
    if weight.dtype == torch.float32 and weight.numel() >= MIN_SIZE:
        return _CutLinear(weight, bias, torch.get_num_threads())
    return linear


class _CutLinear(nn.Module):
    """A linear layer whose outputs are computed in equal pieces side by side, one for each thread.

    pieces  (n, in, out / n); by column in memory, which MKL reads up to twice as fast, where there are more outputs
            than inputs. Outputs are filled up with zeros to a multiple of n
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, n_pieces: int) -> None:
        super().__init__()
        self.n_outputs, n_inputs = weight.shape
        missing = -self.n_outputs % n_pieces
        rows = F.pad(weight, (0, 0, 0, missing)).view(n_pieces, -1, n_inputs)
        by_column = self.n_outputs >= n_inputs
        self.pieces = rows.transpose(1, 2).contiguous() if by_column else rows.contiguous().transpose(1, 2)
        self.bias = None if bias is None else F.pad(bias.detach(), (0, missing)).view(n_pieces, 1, -1)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).expand(len(self.pieces), -1, -1)  # (n, rows, in)
        pieces = torch.bmm(rows, self.pieces) if self.bias is None else torch.baddbmm(self.bias, rows, self.pieces)
        whole = pieces.transpose(0, 1).reshape(rows.shape[1], -1)[:, : self.n_outputs]  # (rows, out)
        return whole.reshape(*x.shape[:-1], self.n_outputs)


class _RowLinear(nn.Module):
    """A linear layer that gives a single row to torch's product of matrix and vector, which reads bfloat16 weights
    faster than oneDNN does."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight.contiguous(), bias

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() > x.shape[-1]:
            return F.linear(x, self.weight, self.bias)
        row = x.flatten()
        product = torch.mv(self.weight, row) if self.bias is None else torch.addmv(self.bias, self.weight, row)
        return product.view(*x.shape[:-1], -1)

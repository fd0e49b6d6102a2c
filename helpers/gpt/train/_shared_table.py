"""One gradient for a matrix that is used twice: as the table of token embeddings and as the head."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from helpers.gpt.model import GPT


def hidden_and_table(model: GPT, token_ids: Tensor, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The last hidden states (B, T, C), and the shared matrix (V, C) as the head should use it for the loss.

    Left to itself, autograd makes a second (V, C) matrix of the looked-up rows' gradient, the largest thing of the way
    back; here the head's gradient takes the rows' in. Both results must take part in the loss.
    """
    shared = []

    def look_up(embedding: torch.nn.Module, ids: tuple[Tensor], rows: Tensor) -> Tensor:
        rows, table = _SharedTable.apply(embedding.weight, *ids)
        shared.append(table)
        return rows

    with model.token_embedding.register_forward_hook(look_up):
        hidden = model.hidden(token_ids, segments=segments)
    return hidden, shared[0]


class _SharedTable(torch.autograd.Function):
    """Rows of a table, and the table for its second use; the second use's gradient takes in that of the rows."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        return F.embedding(ids, table), table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rows: Tensor, grad_table: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        return grad_table.index_add_(0, ids.flatten(), grad_rows.flatten(0, 1)), None  # nobody else holds grad_table

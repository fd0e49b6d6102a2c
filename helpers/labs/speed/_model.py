"""What the rungs change in a model: attention step by step, a padded vocabulary that is masked out, compiled blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

import helpers.gpt.loss
import helpers.gpt.model
from helpers.gpt import GPT, next_token_loss, summed_loss
from helpers.labs.speed._rungs import Switches

MULTIPLE = 64  # ids to which a vocabulary is padded: tensor cores take their columns in blocks


def attention_step_by_step(
    queries: Tensor, keys: Tensor, values: Tensor, drop_rate: float = 0.0, same_segment: Tensor | None = None
) -> Tensor:
    """`helpers.gpt.dropout.causal_attention` as a book writes it: each product keeps its (B, H, T, T) result.

    ValueError: a drop rate or segments, which the ladder has no use for.
    """
    if drop_rate or same_segment is not None:
        raise ValueError(f"step by step there is no dropout and no segment, got drop_rate {drop_rate}")
    T = queries.shape[2]
    future = torch.ones(T, T, dtype=torch.bool, device=queries.device).triu(1)
    attn_scores = (queries @ keys.transpose(2, 3)).masked_fill(future, -math.inf)  # (B, H, T, T)
    attn_weights = torch.softmax(attn_scores / queries.shape[3] ** 0.5, dim=-1)
    return attn_weights @ values


@contextmanager
def switched(model: GPT, switches: Switches, vocab_size: int) -> Iterator[None]:
    """Inside the block models attend, and score their vocabulary, as `switches` say; afterwards as before.

    vocab_size  ids that exist; where `model` has more, those are never given a probability
    """
    with ExitStack() as stack:
        if not switches.fused_attention:
            stack.enter_context(_replaced(helpers.gpt.model, "causal_attention", attention_step_by_step))
        if model.config.vocab_size > vocab_size:
            ours = helpers.gpt.loss._scores_to_gradient

            def without_padding(scores: Tensor, targets: Tensor) -> Tensor:
                scores[:, vocab_size:] = -math.inf
                return ours(scores, targets)

            stack.enter_context(_replaced(helpers.gpt.loss, "_scores_to_gradient", without_padding))
        yield


@contextmanager
def _replaced(module: object, name: str, function: object) -> Iterator[None]:
    ours = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, ours)


def pad_vocabulary(model: GPT, multiple: int = MULTIPLE) -> None:
    """Give the model, in place, rows for ids up to the next multiple: zeros, which stay zeros where they are masked."""
    vocab_size, width = model.token_embedding.weight.shape
    padded = math.ceil(vocab_size / multiple) * multiple
    tied = model.config.tied_head
    for layer in (model.token_embedding,) if tied else (model.token_embedding, model.head):
        more = layer.weight.new_zeros(padded - vocab_size, width)
        layer.weight = nn.Parameter(torch.cat([layer.weight.detach(), more]))
    if tied:
        model.head.weight = model.token_embedding.weight
    model.token_embedding.num_embeddings = model.head.out_features = padded
    model.config = replace(model.config, vocab_size=padded)


def compile_blocks(model: GPT) -> None:
    """Every block through torch.compile: all have one graph, which is compiled once.

    What is left as it is: the embeddings, the last norm and the loss. The chunked loss makes its gradients itself, in
    place and chunk by chunk, which the compiler cannot follow.
    """
    for block in model.blocks:
        block.compile(dynamic=False)  # a larger batch gets a graph of its own instead of one for any size


def mean_loss(model: GPT, token_ids: Tensor, targets: Tensor, vocab_size: int, chunked: bool) -> Tensor:
    """The batch's loss in nats per token, every target scored: a tensor () with gradients; inside `switched`."""
    if chunked:
        return summed_loss(model, token_ids, targets) / targets.numel()
    return next_token_loss(masked_logits(model, token_ids, vocab_size), targets)


def masked_logits(model: GPT, token_ids: Tensor, vocab_size: int) -> Tensor:
    """All logits at once, (B, T, V): minus infinity for ids from `vocab_size` on, which are padding."""
    logits = model(token_ids)
    if logits.shape[-1] > vocab_size:
        logits[..., vocab_size:] = -math.inf
    return logits

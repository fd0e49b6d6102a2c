"""From scores to text: one token after the other, greedy or drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.loss import evaluating
from helpers.model import GPT


@torch.no_grad()
def generate(
    model: GPT,
    token_ids: Tensor,
    n_new: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue each row by `n_new` tokens, dropout off; a text longer than the context is seen through its end.

    token_ids    (B, T) the prompts, on the model's device
    temperature  scores are divided by it before the draw; 0 takes the favourite each time
    top_k        draw from exactly so many favourites; None: from all
    generator    where the draws come from; None: one seeded with 0, so that the global one is never moved
    return       (B, T + n_new) prompts and continuations

    ValueError: n_new below 0, a temperature that is negative or not finite, a top_k outside [1, V].
    Source: Fan et al. 2018, "Hierarchical Neural Story Generation" (top-k).
    """
    V = model.config.vocab_size
    if n_new < 0 or not 0 <= temperature < float("inf"):
        raise ValueError(f"expected n_new >= 0 and a finite temperature >= 0, got {n_new} and {temperature}")
    if top_k is not None and not 1 <= top_k <= V:
        raise ValueError(f"top_k must be in [1, {V}] or None, got {top_k}")
    if generator is None:
        generator = torch.Generator(token_ids.device).manual_seed(0)
    with evaluating(model):
        for _ in range(n_new):
            hidden = model.hidden(token_ids[:, -model.config.context_length :])
            logits = model.head(hidden[:, -1]).float()  # (B, V): only the last position speaks about what follows
            if top_k is not None:
                best = logits.topk(top_k)  # by index, because a threshold would let all equals in
                logits = torch.full_like(logits, float("-inf")).scatter(-1, best.indices, best.values)
            if temperature == 0:
                chosen = logits.argmax(-1, keepdim=True)
            else:
                below = logits - logits.amax(-1, keepdim=True)  # at most 0, so that no temperature makes them overflow
                chosen = torch.multinomial(torch.softmax(below / temperature, -1), 1, generator=generator)
            token_ids = torch.cat([token_ids, chosen], dim=1)
    return token_ids

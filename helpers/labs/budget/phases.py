"""How much an update holds at its widest: in the forward pass, in the backward pass, and at the optimizer's step."""

from __future__ import annotations

from helpers.gpt import CHUNK_TOKENS
from helpers.labs.budget.activations import FLOAT32, Run, activations_bytes, block_tensors, copies_bytes
from helpers.labs.budget.counting import parameter_count

FORWARD, BACKWARD, STEP, EVALUATION = "forward", "backward", "optimizer step", "evaluation"

Moment = tuple[int, int, int, int]
"""What is held at one moment beside weights and the optimizer's moments, in bytes: gradients; matrices in half
precision; activations, those that are kept and results that pass through; logits, and what the loss makes of them."""


def moments(run: Run) -> dict[str, list[Moment]]:
    """Phase -> the moments of an update that can be its widest."""
    step = (FLOAT32 * parameter_count(run.config)["total"], 0, 0, 0)
    return {FORWARD: [_forward(run)], BACKWARD: _backward(run), STEP: [step]}


def chunk_bytes(run: Run) -> int:
    """The logits of one chunk of positions; in half precision a GPU has them in float32 beside it."""
    scores = min(CHUNK_TOKENS, run.n_tokens) * run.config.vocab_size
    beside = 0 if run.device == "cpu" or run.precision == "float32" else FLOAT32
    return scores * (run.element + beside)


def logits_bytes(run: Run) -> int:
    """(B, T, V) numbers in float32."""
    return FLOAT32 * run.n_tokens * run.config.vocab_size


def _forward(run: Run) -> Moment:
    kept, copies = activations_bytes(run), copies_bytes(run)
    if run.chunked_loss:  # hidden states and their gradient, the head's gradient, a chunk; copies in half precision
        if run.precision != "float32":
            kept += run.element * run.stream_bytes // FLOAT32
            copies += run.element * run.table_bytes // FLOAT32
        return run.table_bytes, copies, kept + 2 * run.stream_bytes, chunk_bytes(run)
    logits = logits_bytes(run)
    scores = 0 if run.precision == "float32" else logits * run.element // FLOAT32  # before they become float32
    return 0, copies, kept, 2 * logits + scores


def _backward(run: Run) -> list[Moment]:
    """The loss, each block from the last to the first, the embedding.

    From block to block the sum changes by the same amount, so that the widest of them is the first or the last.
    """
    L, kept = run.config.n_layers, activations_bytes(run)
    copies = copies_bytes(run, 1 if run.gradient_checkpointing else None)
    one_block = sum(block_tensors(run).values())
    kept_block, again = (run.stream_bytes, one_block) if run.gradient_checkpointing else (one_block, 0)
    block_gradients = FLOAT32 * sum(parameter_count(run.config)[part] // L for part in ("attention", "feed_forward"))
    found = []
    if not run.chunked_loss:  # the log-probabilities are kept; their gradient, and that of the logits
        found.append((0, copies, kept, 3 * logits_bytes(run)))
        kept += run.element * run.n_tokens * run.config.emb_dim
    kept += run.stream_bytes
    for n_done in (0, L - 1):
        gradients = run.table_bytes + (n_done + 1) * block_gradients
        left = kept - n_done * kept_block + again
        found += [(gradients, copies, left + passing, 0) for passing in _passing(run)]
    gradients = 2 * run.table_bytes + L * block_gradients  # head and embedding: one on top of the other where tied
    return [*found, (gradients, copies, kept - L * kept_block, 0)]


def _passing(run: Run) -> list[int]:
    """Results that pass through a block in the backward pass, where they can be largest: in the feed-forward layer and,
    where attention is not fused, at its squares."""
    wide = run.element * run.n_tokens * run.config.hidden_ff_dim
    inner = wide + 2 * run.stream_bytes
    if run.is_fused:
        return [inner]
    square = FLOAT32 * run.batch_size * run.config.n_heads * run.context_length**2
    return [inner, 2 * square - 2 * wide]

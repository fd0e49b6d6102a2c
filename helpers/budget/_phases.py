"""How much an update holds at its widest: on the way forward, on the way back, and at the optimizer's step."""

from __future__ import annotations

from helpers.budget._cost import parameter_count
from helpers.budget._tensors import CHUNK_TOKENS, FLOAT32, Run, block_tensors, copies_bytes, kept_tensors

PHASES = ("forward", "backward", "optimizer step")


def working_bytes(run: Run) -> dict[str, int]:
    """Bytes above weights and moments at each phase's widest moment: activations, gradients, passing results."""
    gradients = FLOAT32 * parameter_count(run.config)["total"]
    kept = sum(tensor.n_bytes for tensor in kept_tensors(run)) + copies_bytes(run)
    forward = kept + _loss_forward(run)
    return dict(zip(PHASES, (forward, _backward(run, kept), gradients), strict=True))


def chunk_bytes(run: Run) -> int:
    """The scores of one chunk of positions, and what a graphics card makes beside them."""
    scores = min(CHUNK_TOKENS, run.n_tokens) * run.config.vocab_size
    beside = 0 if run.device == "cpu" else FLOAT32 * (1 if run.precision == "float32" else 2)
    return scores * (run.element + beside)


def logits_bytes(run: Run) -> int:
    """(B, T, V) numbers in float32."""
    return FLOAT32 * run.n_tokens * run.config.vocab_size


def _loss_forward(run: Run) -> int:
    if run.chunked_loss:  # hidden states and their gradient, the head's gradient, a chunk; copies in half precision
        copies = 0 if run.precision == "float32" else run.element * (run.table_bytes + run.stream_bytes) // FLOAT32
        return 2 * run.stream_bytes + run.table_bytes + chunk_bytes(run) + copies
    logits = logits_bytes(run)
    return logits if run.precision == "float32" else logits * run.element // FLOAT32 + logits


def _backward(run: Run, kept: int) -> int:
    """The widest moment of: the loss, each block from the last to the first, the embedding."""
    C = run.config.emb_dim
    one_block = sum(tensor.n_bytes for tensor in block_tensors(run))
    kept_block = run.stream_bytes if run.checkpointing else one_block
    block_gradients = FLOAT32 * sum(
        parameter_count(run.config)[part] // run.config.n_layers for part in ("attention", "feed_forward")
    )
    live, widest = kept, 0
    if not run.chunked_loss:
        logits = logits_bytes(run)
        widest = live + 2 * logits  # the log-probabilities are kept; their gradient, and that of the logits
        live += run.element * run.n_tokens * C - logits
    live += run.table_bytes + run.stream_bytes
    for _ in range(run.config.n_layers):
        again = one_block if run.checkpointing else 0
        widest = max(widest, live + again + _passing(run) + block_gradients)
        live += block_gradients - kept_block
    summed = run.config.tied_head and not (run.chunked_loss and run.device == "cpu")
    of_embedding = run.table_bytes * (not run.config.tied_head or summed)
    return max(widest, live + of_embedding)


def _passing(run: Run) -> int:
    """Results that pass through a block on the way back, where they are largest: in the feed-forward layer or, where
    attention is not fused, at its squares."""
    wide = run.element * run.n_tokens * run.config.hidden_ff_dim
    inner = wide + 2 * run.stream_bytes
    if run.fused_attention:
        return inner
    square = FLOAT32 * run.batch_size * run.config.n_heads * run.context_length**2
    return max(inner, 2 * square - 2 * wide)

"""What a GPT's forward pass keeps for the backward pass, tensor by tensor, from the config alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.gpt import GPTConfig

FLOAT32 = 4
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ID_BYTES = 8  # int64
LOG_PROBS = "log-probabilities"


@dataclass(frozen=True)
class Kept:
    """A tensor that autograd keeps from the forward pass: where, what, (axes), and how many bytes."""

    layer: str
    name: str
    shape: tuple[int, ...]
    n_bytes: int


@dataclass(frozen=True)
class Run:
    """One update of a GPT, as far as its memory depends on it; fields as in `memory`."""

    config: GPTConfig
    batch_size: int
    context_length: int
    precision: str
    fused_attention: bool
    gradient_checkpointing: bool
    chunked_loss: bool
    device: str

    @property
    def element(self) -> int:
        """Bytes of a number that a matmul makes."""
        return ELEMENT_BYTES[self.precision]

    @property
    def is_fused(self) -> bool:
        """Whether attention really is one kernel: on a CPU torch has none with dropout, and goes step by step."""
        return self.fused_attention and not (self.device == "cpu" and self.config.drop_rate)

    @property
    def n_tokens(self) -> int:
        return self.batch_size * self.context_length

    @property
    def stream_bytes(self) -> int:
        """A (B, T, C) tensor of the residual stream, which is float32 in every precision."""
        return FLOAT32 * self.n_tokens * self.config.emb_dim

    @property
    def table_bytes(self) -> int:
        """A (V, C) matrix in float32."""
        return FLOAT32 * self.config.vocab_size * self.config.emb_dim


def kept_tensors(run: Run) -> list[Kept]:
    """Every tensor, parameters and their low-precision copies apart, that is kept until the backward pass needs it."""
    blocks = [
        Kept(f"block {i}", kept.name, kept.shape, kept.n_bytes)
        for i in range(run.config.n_layers)
        for kept in (_block_input(run) if run.gradient_checkpointing else block_tensors(run))
    ]
    return [*_embedding(run), *blocks, *_norm(run, "final norm"), *_loss(run)]


def activations_bytes(run: Run) -> int:
    """Of all layers together, the logits apart: `kept_tensors` without a list per block."""
    block = sum(kept.n_bytes for kept in (_block_input(run) if run.gradient_checkpointing else block_tensors(run)))
    around = [*_embedding(run), *_norm(run, "final norm"), *_loss(run)]
    return run.config.n_layers * block + sum(kept.n_bytes for kept in around if kept.name != LOG_PROBS)


def block_tensors(run: Run) -> list[Kept]:
    """What one block keeps, in the order in which it is made."""
    B, T, C, F = run.batch_size, run.context_length, run.config.emb_dim, run.config.hidden_ff_dim
    e = run.element
    before = [] if run.config.activation == "relu" else [_kept("expanded", (B, T, F), e)]  # ReLU needs its result only
    return [
        *_norm(run, "norm 1"),
        _kept("norm 1's output", (B, T, C), e),
        *_attention(run),
        _kept("heads joined", (B, T, C), e),
        *_mask(run),
        *_norm(run, "norm 2"),
        _kept("norm 2's output", (B, T, C), e),
        *before,
        _kept("activated", (B, T, F), e),
        *_mask(run),
    ]


def copies_bytes(run: Run, n_blocks: int | None = None) -> int:
    """Low-precision copies of the matrices of so many blocks (None: all) and of the head.

    Autocast's cache keeps them all until the forward pass ends, and the matmuls keep theirs for the backward pass; with
    checkpointing a block's are made again when its turn comes.
    """
    if run.precision == "float32":
        return 0
    C, F = run.config.emb_dim, run.config.hidden_ff_dim
    head = 0 if run.chunked_loss else run.config.vocab_size * C
    n_blocks = run.config.n_layers if n_blocks is None else n_blocks
    return run.element * (n_blocks * (4 * C * C + 2 * C * F) + head)


def _attention(run: Run) -> list[Kept]:
    """Fused: queries, keys, values and a number per query. Step by step torch computes in float32 and keeps squares."""
    B, T, C, H = run.batch_size, run.context_length, run.config.emb_dim, run.config.n_heads
    if run.is_fused:
        sums = _kept("log-sum-exp of the scores", (B, H, T), FLOAT32)
        return [_kept("queries, keys, values", (B, T, 3, C), run.element), sums]
    square = (B, H, T, T)
    parts = [_kept("queries, keys, values", (B, T, 3, C), FLOAT32), _kept("attention weights", square, FLOAT32)]
    if run.config.drop_rate:
        mask = _kept("mask of weights", square, FLOAT32 if run.device == "cpu" else 1)
        parts += [mask, _kept("weights, some dropped", square, FLOAT32)]
    return parts


def _norm(run: Run, name: str) -> list[Kept]:
    B, T, C = run.batch_size, run.context_length, run.config.emb_dim
    parts = [_kept(f"{name}'s input", (B, T, C), FLOAT32), _kept(f"{name}'s mean and scale", (2, B, T), FLOAT32)]
    return [Kept("final norm" if name == "final norm" else "", p.name, p.shape, p.n_bytes) for p in parts]


def _mask(run: Run, element: int | None = None) -> list[Kept]:
    """What dropout keeps: a byte a number on a GPU; on a CPU numbers as wide as those it drops (None: a product's)."""
    if not run.config.drop_rate:
        return []
    element = (element or run.element) if run.device == "cpu" else 1
    return [_kept("dropout mask", (run.batch_size, run.context_length, run.config.emb_dim), element)]


def _block_input(run: Run) -> list[Kept]:
    return [_kept("input", (run.batch_size, run.context_length, run.config.emb_dim), FLOAT32)]


def _embedding(run: Run) -> list[Kept]:
    B, T = run.batch_size, run.context_length
    parts = [_kept("token ids", (B, T), ID_BYTES), _kept("positions", (T,), ID_BYTES), *_mask(run, FLOAT32)]
    return [Kept("embedding", p.name, p.shape, p.n_bytes) for p in parts]


def _loss(run: Run) -> list[Kept]:
    if run.chunked_loss:
        return []
    N, C, V = run.n_tokens, run.config.emb_dim, run.config.vocab_size
    parts = [_kept("hidden states", (N, C), run.element), _kept(LOG_PROBS, (N, V), FLOAT32)]
    return [Kept("loss", p.name, p.shape, p.n_bytes) for p in parts]


def _kept(name: str, shape: tuple[int, ...], element: int) -> Kept:
    return Kept("", name, shape, element * math.prod(shape))

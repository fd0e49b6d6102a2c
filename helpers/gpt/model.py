"""The GPT: embeddings, pre-norm blocks with causal attention, and the head that scores every token.

Notebook 01 calls its parts one by one, 04 gives attention a mask, 05 does attention by hand and with a cache, 08 keeps
documents apart, 11 makes it a Llama.
Axes: B batch, T tokens, C embedding width, H heads, D head size (C = H * D), V vocabulary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from helpers.gpt.cache import KeyValueCache
from helpers.gpt.config import GPTConfig, check_ids, require_kind, require_whole
from helpers.gpt.rotary import Rotation, rotate, rotation_at

INIT_STD = 0.02  # Radford et al. 2018 (GPT), section 4.1
_ACTIVATIONS = {"gelu": nn.GELU, "gelu_tanh": partial(nn.GELU, approximate="tanh"), "relu": nn.ReLU}
_NORMS = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm}
Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # new keys, values -> those of all tokens so far


class CausalSelfAttention(nn.Module):
    """Every position takes a weighted sum of the values of the positions up to itself, H times side by side.

    x         (B, T, C) -> (B, T, C)
    visible   (B or 1, 1, T, keys) bool, true where a token may look; None: at itself and all before it
    extend    of a cache, see `Extend`
    rotation  of queries and keys, where positions are rotary, see `rotate`
    Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 (GQA) for fewer heads of keys and values.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_heads, self.kv_heads, self.drop_rate = config.n_heads, config.kv_heads, config.drop_rate
        self.rotary_pairs = config.rotary_pairs
        self.qkv = nn.Linear(config.emb_dim, config.qkv_dim, bias=config.qkv_bias)
        self.out_proj = nn.Linear(config.emb_dim, config.emb_dim, bias=config.linear_bias)

    def forward(
        self, x: Tensor, visible: Tensor | None = None, extend: Extend | None = None, rotation: Rotation | None = None
    ) -> Tensor:
        B, T, C = x.shape
        heads = self.qkv(x).view(B, T, -1, C // self.n_heads)  # (B, T, all heads, D)
        queries, keys, values = heads.split([self.n_heads, self.kv_heads, self.kv_heads], dim=2)
        if rotation is not None:
            queries, keys = (rotate(part, rotation, self.rotary_pairs) for part in (queries, keys))
        queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))  # each (B, its heads, T, D)
        if extend is not None:
            keys, values = extend(keys, values)  # (B, kv_heads, all tokens so far, D)
        drop_rate = self.drop_rate if self.training else 0.0
        causal = visible is None and T > 1  # torch lines up first query and first key; one new token sees all keys
        # softmax(queries @ keys.mT / sqrt(D), what may not be seen at -inf) @ values: (B, H, T, D)
        grouped = self.kv_heads != self.n_heads  # query heads 0, 1, ... read key-value head 0, the next as many head 1
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=visible, dropout_p=drop_rate, is_causal=causal, enable_gqa=grouped
        )
        return self.out_proj(mixed.transpose(1, 2).reshape(B, T, C))  # (B, H, T, D) -> (B, T, C)


class FeedForward(nn.Module):
    """Two linear layers with a nonlinearity between them, applied to each position alone: (B, T, C) -> (B, T, C).

    SwiGLU multiplies what the first gives by a gate, SiLU of a third. Source: Shazeer 2020, "GLU Variants".
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        sizes = config.emb_dim, config.hidden_ff_dim
        self.expand = nn.Linear(*sizes, bias=config.linear_bias)
        self.gate = nn.Linear(*sizes, bias=config.linear_bias) if config.feed_forward == "swiglu" else None
        self.activation = _ACTIVATIONS[config.activation]() if self.gate is None else nn.SiLU()
        self.out_proj = nn.Linear(config.hidden_ff_dim, config.emb_dim, bias=config.linear_bias)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.expand(x)  # (B, T, C) -> (B, T, ff_dim)
        wide = self.activation(wide) if self.gate is None else self.activation(self.gate(x)) * wide
        return self.out_proj(wide)  # (B, T, ff_dim) -> (B, T, C)


class TransformerBlock(nn.Module):
    """Normalise, attend, add; normalise, feed forward, add: (B, T, C) -> (B, T, C). Arguments as for attention."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.norm1 = _NORMS[config.norm](config.emb_dim, eps=config.norm_eps)
        self.attention = CausalSelfAttention(config)
        self.norm2 = _NORMS[config.norm](config.emb_dim, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.drop_rate)

    def forward(
        self, x: Tensor, visible: Tensor | None = None, extend: Extend | None = None, rotation: Rotation | None = None
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), visible, extend, rotation))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class GPT(nn.Module):
    """A decoder-only transformer: token ids in, a score for every possible next token out.

    Calling it: token_ids (B, T) integers in [0, V), T <= context_length -> logits (B, T, V).
    Untrained, its loss is near ln V + C * INIT_STD**2 / 2 (notebook 01, section 4).

    `gradient_checkpointing`, False until it is set: training keeps of each block only its input and computes the rest
    again in the backward pass: the same gradients for less memory and up to a third more arithmetic.

    ValueError: ids of the wrong shape, type or range, or a sequence longer than the context.
    Source: Radford et al. 2019 (GPT-2), section 2.3; Chen et al. 2016 (training with sublinear memory).
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        require_kind(GPTConfig, config=config)
        self.config = config
        self.gradient_checkpointing = False
        self.token_embedding = nn.Embedding(config.vocab_size, config.emb_dim)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length + config.position_offset, config.emb_dim)
        self.dropout = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.final_norm = _NORMS[config.norm](config.emb_dim, eps=config.norm_eps)
        self.head = nn.Linear(config.emb_dim, config.vocab_size, bias=False)
        self._initialise()
        if config.tied_head:
            self.head.weight = self.token_embedding.weight

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        # Each block adds to the stream twice; shrinking what they add keeps its size independent of depth.
        for block in self.blocks:
            for layer in (block.attention.out_proj, block.feed_forward.out_proj):
                nn.init.normal_(layer.weight, std=INIT_STD / (2 * self.config.n_layers) ** 0.5)

    @property
    def n_params(self) -> int:
        """Learned numbers, a shared matrix counted once."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.head(self.hidden(token_ids))  # (B, T, C) -> (B, T, V)

    def hidden(
        self, token_ids: Tensor, cache: KeyValueCache | None = None, *, segments: Tensor | None = None
    ) -> Tensor:
        """The last hidden states, normalised: token_ids (B, T) -> (B, T, C); `head` of them are the logits.

        cache     keys and values of the tokens before, to which those of these are added; without gradients
        segments  (B, T) int64, which document a token belongs to, as `labs.rows_of` has it: a token then attends only
                  to tokens of its own number, while positions go on counting along the row

        ValueError: a cache that is full, or with segments; segments of another shape.
        """
        self._check(token_ids)
        positions, visible = self._positions(token_ids, cache, segments)
        x, rotation = self._embed(token_ids, positions)
        recompute = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        for i, block in enumerate(self.blocks):
            inputs = x, visible, partial(cache.extend, i) if cache is not None else None, rotation
            x = checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)
        if cache is not None:
            cache.advance(token_ids.shape[1])
        return self.final_norm(x)

    def residual_stream(self, token_ids: Tensor) -> list[Tensor]:
        """The stream after the embeddings and after each block, not normalised: n_layers + 1 tensors (B, T, C).

        `head(final_norm(x))` of the last is the model's output, and of any other the logit lens.
        Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
        """
        self._check(token_ids)
        x, rotation = self._embed(token_ids, torch.arange(token_ids.shape[1], device=token_ids.device))
        stream = [x]
        for block in self.blocks:
            stream.append(block(stream[-1], rotation=rotation))
        return stream

    def new_cache(self, batch_size: int, capacity: int) -> KeyValueCache:
        """An empty cache for texts of up to `capacity` tokens. ValueError: more than the context."""
        config, weight = self.config, self.token_embedding.weight
        require_whole(capacity=capacity)
        if capacity > config.context_length:
            raise ValueError(f"a cache of {capacity} tokens exceeds the context of {config.context_length}")
        sizes = (config.n_layers, batch_size, config.kv_heads, capacity, config.head_dim)
        return KeyValueCache(*sizes, dtype=weight.dtype, device=weight.device)

    def _positions(
        self, token_ids: Tensor, cache: KeyValueCache | None, segments: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Where the tokens stand, and what each may look at where that is not simply all before it: see `visible`."""
        if segments is not None and (cache is not None or segments.shape != token_ids.shape):
            raise ValueError(
                f"segments must have the shape of token_ids, {tuple(token_ids.shape)}, and go with no cache; got "
                f"{tuple(segments.shape)}{' and a cache' if cache is not None else ''}"
            )
        if cache is not None:
            return cache.positions(token_ids.shape[1])
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        if segments is None:
            return positions, None
        return positions, (segments[:, None, :, None] == segments[:, None, None, :]).tril()  # (B, 1, T, T)

    def _embed(self, token_ids: Tensor, positions: Tensor) -> tuple[Tensor, Rotation | None]:
        """The stream before the first block, (B, T, C), and how queries and keys turn at (1 or B, T) positions."""
        x = self.token_embedding(token_ids)
        if self.config.positions == "learned":
            return self.dropout(x + self.position_embedding(positions + self.config.position_offset)), None
        return self.dropout(x), rotation_at(positions, self.config.head_dim, self.config.rotary_base)

    def _check(self, token_ids: Tensor) -> None:
        require_kind(Tensor, token_ids=token_ids)
        if token_ids.ndim != 2 or token_ids.numel() == 0:
            raise ValueError(
                f"token_ids must have shape (B, T) with at least one token, got {tuple(token_ids.shape)}; "
                "one sequence is a batch of one: ids[None]"
            )
        if token_ids.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"token_ids must be int64 or int32, got {token_ids.dtype}")
        if token_ids.shape[1] > self.config.context_length:
            raise ValueError(
                f"{token_ids.shape[1]} tokens do not fit the context of {self.config.context_length}: "
                "keep the last ones, ids[:, -context_length:]"
            )
        check_ids(token_ids, self.config.vocab_size)


@contextmanager
def evaluating(model: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Dropout off inside the block; then every part of the model is in the mode it had. A plain function may pass."""
    require_kind(Callable, model=model)
    parts = [part for part in model.modules() if part.training] if isinstance(model, nn.Module) else []
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True

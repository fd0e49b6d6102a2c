"""The baselines of `make bench`: a GPT as a first from-scratch version has it, and one of nanoGPT's shape.

The first has every formula spelled out and nothing fused; it is also the slow oracle of the course's fast path. The
second is what a careful person writes with torch's own parts: fused attention, all logits at once, a tied head. Its
shape is nanoGPT's (A. Karpathy, https://github.com/karpathy/nanoGPT), the code is the course's own.
"""

import math
from collections import OrderedDict
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.gpt import GPT, GPTConfig, TrainConfig, make_optimizer

LEARNING_RATE = 4e-4
WEIGHT_DECAY = 0.1


class PlainLayerNorm(nn.Module):
    """Mean and variance over the width, written out: (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        return self.weight * (x - mean) / torch.sqrt(variance + self.eps) + self.bias


class PlainGELU(nn.Module):
    """The tanh approximation of GELU, term by term."""

    def forward(self, x: Tensor) -> Tensor:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))
        return 0.5 * x * (1 + torch.tanh(inner))


class PlainAttention(nn.Module):
    """Queries, keys and values from three matrices; then one head after the other, each with its mask and softmax."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        C, T = config.emb_dim, config.context_length
        self.n_heads, self.head_dim = config.n_heads, config.head_dim
        self.query, self.key, self.value = (nn.Linear(C, C, bias=config.qkv_bias) for _ in range(3))
        self.out_proj = nn.Linear(C, C)
        self.dropout = nn.Dropout(config.drop_rate)
        self.register_buffer("future", torch.ones(T, T, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        queries, keys, values = self.query(x), self.key(x), self.value(x)  # each (B, T, C)
        heads = []
        for head in range(self.n_heads):
            columns = slice(head * self.head_dim, (head + 1) * self.head_dim)
            attn_scores = queries[..., columns] @ keys[..., columns].transpose(1, 2)  # (B, T, T)
            attn_scores = attn_scores.masked_fill(self.future[:T, :T], -math.inf)
            attn_weights = torch.softmax(attn_scores / math.sqrt(self.head_dim), dim=-1)
            heads.append(self.dropout(attn_weights) @ values[..., columns])  # (B, T, D)
        return self.out_proj(torch.cat(heads, dim=-1))


class NanoAttention(nn.Module):
    """Queries, keys and values from one matrix, then torch's fused attention: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_heads, self.drop_rate = config.n_heads, config.drop_rate
        self.qkv = nn.Linear(config.emb_dim, 3 * config.emb_dim, bias=config.qkv_bias)
        self.out_proj = nn.Linear(config.emb_dim, config.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.n_heads, -1).transpose(1, 2) for part in self.qkv(x).split(C, dim=2))
        drop_rate = self.drop_rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate, is_causal=True)  # (B, H, T, D)
        return self.out_proj(mixed.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    """Attention and a feed-forward layer, each on a normalised copy and added back: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPTConfig, is_plain: bool) -> None:
        super().__init__()
        C, hidden = config.emb_dim, config.hidden_ff_dim
        norm = PlainLayerNorm if is_plain else nn.LayerNorm
        self.norm1, self.norm2 = (norm(C, eps=config.norm_eps) for _ in range(2))
        self.attention = PlainAttention(config) if is_plain else NanoAttention(config)
        activation = PlainGELU() if is_plain else nn.GELU("tanh")
        layers = {"expand": nn.Linear(C, hidden), "activation": activation, "out_proj": nn.Linear(hidden, C)}
        self.feed_forward = nn.Sequential(OrderedDict(layers))
        self.dropout = nn.Dropout(config.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Baseline(nn.Module):
    """token_ids (B, T) -> logits (B, T, V); weights are named as in helpers' GPT.

    is_plain  the formulas spelled out and a head of its own; otherwise torch's parts and a tied head

    ValueError: a config with anything that GPT-2 of the textbooks lacks.
    Source: Radford et al. 2019 (GPT-2), section 2.3.
    """

    def __init__(self, config: GPTConfig, is_plain: bool) -> None:
        super().__init__()
        wanted = {"linear_bias": True, "position_offset": 0, "activation": "gelu_tanh"}
        wrong = {name: getattr(config, name) for name in wanted if getattr(config, name) != wanted[name]}
        if wrong:
            raise ValueError(f"the baselines have {wanted}, got {wrong}: derive a config from preset('book-124m')")
        self.token_embedding = nn.Embedding(config.vocab_size, config.emb_dim)
        self.position_embedding = nn.Embedding(config.context_length, config.emb_dim)
        self.dropout = nn.Dropout(config.drop_rate)
        self.blocks = nn.Sequential(*(Block(config, is_plain) for _ in range(config.n_layers)))
        norm = PlainLayerNorm if is_plain else nn.LayerNorm
        self.final_norm = norm(config.emb_dim, eps=config.norm_eps)
        self.head = nn.Linear(config.emb_dim, config.vocab_size, bias=False)
        if not is_plain:
            self.head.weight = self.token_embedding.weight

    def forward(self, token_ids: Tensor) -> Tensor:
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        x = self.dropout(self.token_embedding(token_ids) + self.position_embedding(positions))
        return self.head(self.final_norm(self.blocks(x)))


def plain_gpt(source: GPT) -> Baseline:
    """The spelled-out GPT with every weight of `source`, a tied head as a copy of its own. ValueError: as Baseline."""
    model = Baseline(replace(source.config, tied_head=False), is_plain=True)
    weights = {}
    for name, whole in source.state_dict().items():
        thirds = zip(("query", "key", "value"), whole.chunk(3), strict=True) if ".qkv." in name else [("", whole)]
        weights |= {name.replace("qkv", third): part for third, part in thirds}
    model.load_state_dict(weights)
    return model


def nano_gpt(source: GPT) -> Baseline:
    """The GPT of nanoGPT's shape with every weight of `source`, whose head is tied. ValueError: as Baseline."""
    model = Baseline(source.config, is_plain=False)
    model.load_state_dict(source.state_dict())
    return model


def plain_optimizer(model: nn.Module) -> torch.optim.AdamW:
    """AdamW over every parameter alike, torch's defaults but for the rate and the decay."""
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, token_ids: Tensor, targets: Tensor) -> float:
    """One update on token_ids and targets, both (B, T): the mean loss in nats before it."""
    optimizer.zero_grad()
    logits = model(token_ids)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def plain_loop(model: nn.Module, token_ids: Tensor, n_new: int) -> Tensor:
    """Greedy as a first version has it: for each token the whole text anew. (B, T) ids -> (B, T + n_new)."""
    for _ in range(n_new):
        logits = model(token_ids)[:, -1]
        chosen = torch.argmax(torch.softmax(logits, dim=-1), dim=-1, keepdim=True)
        token_ids = torch.cat([token_ids, chosen], dim=1)
    return token_ids


def nano_optimizer(model: nn.Module, fused: bool | None = None) -> torch.optim.AdamW:
    """AdamW, matrices decayed and the rest not. fused: one kernel for all; None: on a GPU only, as nanoGPT has it."""
    groups = make_optimizer(model, TrainConfig(1, LEARNING_RATE, weight_decay=WEIGHT_DECAY)).param_groups
    groups = [{name: group[name] for name in ("params", "lr", "betas", "weight_decay")} for group in groups]
    return torch.optim.AdamW(groups, fused=groups[0]["params"][0].is_cuda if fused is None else fused)


def nano_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, token_ids: Tensor, targets: Tensor, precision: str
) -> float:
    """One update as nanoGPT's loop makes it, its gradient norm clipped at 1: the mean loss in nats before it."""
    with torch.autocast(token_ids.device.type, dtype=getattr(torch, precision), enabled=precision != "float32"):
        loss = F.cross_entropy(model(token_ids).flatten(0, 1), targets.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()

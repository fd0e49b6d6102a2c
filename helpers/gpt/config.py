"""Sizes and switches of a GPT, validated once, and the presets of the course. Notebook 01 counts from them.

Also what later files share: a target that is not scored; `require_...` and `check_ids` refuse input: pass over them.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral, Rational, Real
from types import UnionType

import torch
from torch import Tensor

MAX_WHOLE = 2**63 - 1  # what torch counts with
IGNORED_TARGET = -100  # a target that is not scored, as F.cross_entropy has it


@dataclass(frozen=True)
class GPTConfig:
    """Everything that fixes the shape of a GPT. Immutable: derive a variant with `dataclasses.replace`.

    The defaults are GPT-2's; the last six fields are what changed since then, and notebook 11 takes them apart.

    ValueError: any of these outside its range; the message names what was expected and what came.
    Source: Radford et al. 2019 (GPT-2), section 2.3; Zhang et al. 2022 (OPT), section 2.1; Touvron et al. 2023
    (Llama), section 2.2.
    """

    vocab_size: int = 50257  # V, rows of the token embedding
    context_length: int = 1024  # the longest sequence, in tokens; the position embedding has a row for each
    emb_dim: int = 768  # C, numbers per token inside the model; a multiple of n_heads
    n_heads: int = 12  # H, attention heads; each is emb_dim / n_heads = D wide
    n_layers: int = 12  # transformer blocks
    ff_dim: int | None = None  # width inside the feed-forward layer; None means 4 * emb_dim
    drop_rate: float = 0.1  # dropout, in [0, 1): of the embeddings, attention weights, and what the blocks add
    qkv_bias: bool = True  # a bias on the query, key and value projections
    linear_bias: bool = True  # a bias on every other linear layer inside a block
    tied_head: bool = True  # logits = hidden @ token_embedding.T instead of a matrix of their own
    activation: str = "gelu_tanh"  # GPT-2's approximation; "gelu" is exact, "relu" is OPT's
    norm_eps: float = 1e-5  # epsilon inside every norm
    position_offset: int = 0  # rows of the position embedding that are skipped (2 in OPT)
    # Since GPT-2, and not needed before notebook 11:
    norm: str = "layernorm"  # "rmsnorm" takes no mean away and adds no bias
    positions: str = "learned"  # an embedding that is added; "rotary": queries and keys are turned by their position
    rotary_base: float = 10_000.0  # the slowest pair of a head turns by almost 1 / rotary_base radians a token
    rotary_pairs: str = "adjacent"  # numbers that turn together: neighbours, or "halves": i and i + D / 2
    feed_forward: str = "mlp"  # two matrices around the activation; "swiglu": a third gates, and SiLU is the activation
    n_kv_heads: int | None = None  # heads of keys and values, each read by n_heads / n_kv_heads queries; None: n_heads

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers")
        require_whole(**{name: getattr(self, name) for name in sizes})
        require_whole(ff_dim=self.hidden_ff_dim, n_kv_heads=self.kv_heads)
        require_whole(at_least=0, position_offset=self.position_offset)
        if self.emb_dim % self.n_heads:
            raise ValueError(f"emb_dim must be a multiple of n_heads, got {self.emb_dim} and {self.n_heads}")
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_heads must be a multiple of n_kv_heads, got {self.n_heads} and {self.n_kv_heads}")
        if self.positions == "rotary" and self.head_dim % 2:
            raise ValueError(f"rotary positions turn pairs: emb_dim / n_heads must be even, got {self.head_dim}")
        if not is_number(self.drop_rate) or not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate must be a probability in [0, 1), got {self.drop_rate!r}")
        require_number(norm_eps=self.norm_eps, rotary_base=self.rotary_base)
        for name, known in CHOICES.items():
            require_one_of(known, **{name: getattr(self, name)})
        store_plain(self, int, *sizes, "ff_dim", "position_offset", "n_kv_heads")
        store_plain(self, float, "drop_rate", "norm_eps", "rotary_base")
        store_plain(self, bool, "qkv_bias", "linear_bias", "tied_head")  # 1 is True

    @property
    def head_dim(self) -> int:
        """D, the width of one attention head."""
        return self.emb_dim // self.n_heads

    @property
    def hidden_ff_dim(self) -> int:
        """Width inside the feed-forward layer."""
        return 4 * self.emb_dim if self.ff_dim is None else self.ff_dim

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def qkv_dim(self) -> int:
        """Width of the queries, keys and values of all heads, side by side."""
        return (self.n_heads + 2 * self.kv_heads) * self.head_dim


CHOICES = {  # settings that are one of a few
    "activation": ("gelu", "gelu_tanh", "relu"),
    "norm": ("layernorm", "rmsnorm"),
    "positions": ("learned", "rotary"),
    "rotary_pairs": ("adjacent", "halves"),
    "feed_forward": ("mlp", "swiglu"),
    "qkv_bias": (True, False),
    "linear_bias": (True, False),
    "tied_head": (True, False),
}


def require_whole(*, at_least: int = 1, at_most: int = MAX_WHOLE, **numbers: object) -> None:
    """ValueError: one of `numbers` is no whole number from `at_least` to `at_most`; the message names it."""
    for name, value in numbers.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < at_least:
            raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value!r}")
        if value > MAX_WHOLE:
            raise ValueError(f"{name} must be at most 2^63 - 1, got a number of {int(value).bit_length():,} bits")
        if value > at_most:
            raise ValueError(f"{name} must be at most {at_most:,}, got {value:,}")


def require_number(*, positive: bool = True, **numbers: object) -> None:
    """ValueError: one of `numbers` is no finite number above 0 (or, if not `positive`, of at least 0)."""
    for name, value in numbers.items():
        if not is_number(value) or not 0 <= value < math.inf or (positive and value == 0):
            bound = "above" if positive else "of at least"
            raise ValueError(f"{name} must be a finite number {bound} 0, got {value!r}")


def require_one_of(known: Iterable[object], **given: object) -> None:
    """ValueError: one of the values `given` is none of those `known`; the message names it and them."""
    for name, value in given.items():
        if value not in tuple(known):  # a set would ask for a hash, which a list has not
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")


def require_kind(kind: type | UnionType, **given: object) -> None:
    """ValueError: one of the values `given` is no `kind`, such as GPT, Tensor or Iterable; the message names it."""
    for name, value in given.items():
        if not isinstance(value, kind):
            wanted = getattr(kind, "__name__", kind)
            raise ValueError(f"expected {wanted} for {name}, got {type(value).__name__}: {value!r:.60}")


def require_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """ValueError: one of the names `given` is not among those `known`; the message names both."""
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"no {what} named {', '.join(unknown)}; there are {', '.join(known)}")


def store_plain(config: object, kind: type, *names: str) -> None:
    """Make the numbers of a frozen config Python's own, which JSON knows, where they are numpy's; None stays."""
    for name in names:
        if (value := getattr(config, name)) is not None:
            object.__setattr__(config, name, kind(value))


def is_number(value: object) -> bool:
    """True and False are none, and neither is a whole number or a Fraction that no float holds."""
    exact = isinstance(value, Rational)
    return isinstance(value, Real) and not isinstance(value, bool) and not (exact and abs(value) > sys.float_info.max)


PRESETS: dict[str, GPTConfig] = {
    "course-small": GPTConfig(context_length=128, emb_dim=128, n_heads=4, n_layers=4, drop_rate=0.0),
    "book-124m": GPTConfig(context_length=256, qkv_bias=False, tied_head=False),
    "gpt2-124m": GPTConfig(),
    "gpt2-355m": GPTConfig(emb_dim=1024, n_heads=16, n_layers=24),
    "gpt2-774m": GPTConfig(emb_dim=1280, n_heads=20, n_layers=36),
    "gpt2-1558m": GPTConfig(emb_dim=1600, n_heads=25, n_layers=48),
    "opt-125m": GPTConfig(vocab_size=50272, context_length=2048, activation="relu", position_offset=2),
}


def preset(name: str, **changes: object) -> GPTConfig:
    """The named preset, with `changes` applied to its fields. ValueError: an unknown name or field, or a value
    that GPTConfig refuses."""
    if name not in tuple(PRESETS):  # a dict would ask for a hash, which a list has not
        raise ValueError(f"no preset named {name!r}; there are {', '.join(PRESETS)}")
    require_known("field of GPTConfig", changes, GPTConfig.__dataclass_fields__)
    return replace(PRESETS[name], **changes)


def check_ids(ids: Tensor, vocab_size: int, what: str = "token ids") -> None:
    """ValueError: one of `ids`, integers of any shape, is outside [0, vocab_size). `what` names them in the message.

    Looking makes a GPU wait, so that there it is done only where no gradients are recorded.
    """
    require_kind(Tensor, **{what: ids})
    require_whole(vocab_size=vocab_size)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{what} must be whole numbers, got {ids.dtype}")
    if ids.numel() == 0 or (ids.device.type != "cpu" and torch.is_grad_enabled()):
        return
    low, high = (int(v) for v in ids.long().aminmax())  # for uint16, as ids lie on the disk, there is none
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"{what} must be in [0, {vocab_size}), got {low if low < 0 else high}: "
            "does the tokenizer belong to this model?"
        )

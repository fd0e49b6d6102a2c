"""How two published families name what the course's model holds: parameters and the fields of their config.json.

Ours, GPT-2's and OPT's names stand side by side here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from helpers.gpt import GPTConfig

QKV = "attention.qkv"
_LAYER = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Source:
    """Where one of our parameters lies in a published file: the `names`, stacked by rows, each transposed or not."""

    names: tuple[str, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Family:
    """A published family of models.

    model_type  as config.json says it
    prefixes    what may stand before every name: saved with a head or without
    outside     our parameters outside the blocks -> theirs
    layer       how their blocks begin, with {i} for the number
    inside      our modules in a block -> theirs; several where theirs keeps queries, keys and values apart
    transposed  our modules whose matrix they store as (in, out)
    no_weights  names of stored buffers that hold no learned number
    """

    model_type: str
    prefixes: tuple[str, ...]
    outside: dict[str, str]
    layer: str
    inside: dict[str, tuple[str, ...]]
    transposed: frozenset[str]
    no_weights: re.Pattern
    to_config: Callable[[dict], GPTConfig]
    from_config: Callable[[GPTConfig], dict]

    def source(self, ours: str) -> Source:
        """Where our parameter of that name lies, without prefix."""
        if ours in self.outside:
            return Source((self.outside[ours],))
        i, module, kind = _LAYER.fullmatch(ours).groups()
        names = tuple(f"{self.layer.format(i=i)}{name}.{kind}" for name in self.inside[module])
        return Source(names, kind == "weight" and module in self.transposed)


def _gpt2_config(theirs: dict) -> GPTConfig:
    _refuse(theirs, "scale_attn_weights", True)
    _refuse(theirs, "scale_attn_by_inverse_layer_idx", False)
    _refuse(theirs, "add_cross_attention", False)
    return GPTConfig(
        vocab_size=_field(theirs, "vocab_size"),
        context_length=theirs.get("n_positions") or _field(theirs, "n_ctx"),
        emb_dim=_field(theirs, "n_embd"),
        n_heads=_field(theirs, "n_head"),
        n_layers=_field(theirs, "n_layer"),
        ff_dim=_ff_dim(theirs.get("n_inner"), _field(theirs, "n_embd")),
        drop_rate=0.0,
        tied_head=theirs.get("tie_word_embeddings", True),
        activation=_activation(theirs.get("activation_function", "gelu_new")),
        norm_eps=theirs.get("layer_norm_epsilon", 1e-5),
    )


def _gpt2_fields(config: GPTConfig) -> dict:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "n_positions": config.context_length,
        "n_embd": config.emb_dim,
        "n_head": config.n_heads,
        "n_layer": config.n_layers,
        "n_inner": config.ff_dim,
        "activation_function": {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation),
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.drop_rate,
        "embd_pdrop": config.drop_rate,
        "attn_pdrop": config.drop_rate,
    }


def _opt_config(theirs: dict) -> GPTConfig:
    _refuse(theirs, "do_layer_norm_before", True)
    _refuse(theirs, "layer_norm_elementwise_affine", True)
    _refuse(theirs, "_remove_final_layer_norm", False)
    width = _field(theirs, "hidden_size")
    if theirs.get("word_embed_proj_dim", width) != width:
        raise ValueError(
            f"word_embed_proj_dim is {theirs['word_embed_proj_dim']} and hidden_size {width}: the course's model has "
            "no projection between embedding and stream, as OPT-350M has; OPT-125M and the larger ones fit"
        )
    return GPTConfig(
        vocab_size=_field(theirs, "vocab_size"),
        context_length=_field(theirs, "max_position_embeddings"),
        emb_dim=width,
        n_heads=_field(theirs, "num_attention_heads"),
        n_layers=_field(theirs, "num_hidden_layers"),
        ff_dim=_ff_dim(_field(theirs, "ffn_dim"), width),
        drop_rate=0.0,
        qkv_bias=theirs.get("enable_bias", True),
        linear_bias=theirs.get("enable_bias", True),
        tied_head=theirs.get("tie_word_embeddings", True),
        activation=_activation(theirs.get("activation_function", "relu")),
        position_offset=2,
    )


def _opt_fields(config: GPTConfig) -> dict:
    if config.position_offset != 2 or config.norm_eps != 1e-5 or config.qkv_bias != config.linear_bias:
        raise ValueError(
            "OPT's format has a position_offset of 2, a norm_eps of 1e-5 and biases everywhere or nowhere, got "
            f"{config.position_offset}, {config.norm_eps}, qkv_bias={config.qkv_bias}, linear_bias={config.linear_bias}"
        )
    return {
        "architectures": ["OPTForCausalLM"],
        "max_position_embeddings": config.context_length,
        "hidden_size": config.emb_dim,
        "word_embed_proj_dim": config.emb_dim,
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "ffn_dim": config.hidden_ff_dim,
        "activation_function": {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation),
        "enable_bias": config.linear_bias,
        "do_layer_norm_before": True,
        "dropout": config.drop_rate,
        "attention_dropout": config.drop_rate,
    }


def _ff_dim(theirs: int | None, width: int) -> int | None:
    return None if theirs is None or theirs == 4 * width else theirs  # as the presets have it


def _field(theirs: dict, name: str) -> int:
    value = theirs.get(name)
    if not isinstance(value, int):
        raise ValueError(f"config.json must give {name} as a whole number, got {value!r}; it has {', '.join(theirs)}")
    return value


def _refuse(theirs: dict, name: str, expected: bool) -> None:
    if theirs.get(name, expected) != expected:
        raise ValueError(f"config.json says {name}={theirs[name]!r}, the course's model only knows {expected!r}")


def _activation(name: str) -> str:
    known = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
    if name not in known:
        raise ValueError(f"activation_function must be one of {', '.join(known)}, got {name!r}")
    return known[name]


GPT2 = Family(
    model_type="gpt2",
    prefixes=("transformer.", ""),
    outside={
        "token_embedding.weight": "wte.weight",
        "position_embedding.weight": "wpe.weight",
        "final_norm.weight": "ln_f.weight",
        "final_norm.bias": "ln_f.bias",
    },
    layer="h.{i}.",
    inside={
        "norm1": ("ln_1",),
        QKV: ("attn.c_attn",),
        "attention.out_proj": ("attn.c_proj",),
        "norm2": ("ln_2",),
        "feed_forward.expand": ("mlp.c_fc",),
        "feed_forward.out_proj": ("mlp.c_proj",),
    },
    transposed=frozenset({QKV, "attention.out_proj", "feed_forward.expand", "feed_forward.out_proj"}),
    no_weights=re.compile(r"h\.\d+\.attn\.(bias|masked_bias)"),  # the causal mask and the number that hid the future
    to_config=_gpt2_config,
    from_config=_gpt2_fields,
)
OPT = Family(
    model_type="opt",
    prefixes=("model.decoder.", "decoder.", ""),
    outside={
        "token_embedding.weight": "embed_tokens.weight",
        "position_embedding.weight": "embed_positions.weight",
        "final_norm.weight": "final_layer_norm.weight",
        "final_norm.bias": "final_layer_norm.bias",
    },
    layer="layers.{i}.",
    inside={
        "norm1": ("self_attn_layer_norm",),
        QKV: ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.out_proj": ("self_attn.out_proj",),
        "norm2": ("final_layer_norm",),
        "feed_forward.expand": ("fc1",),
        "feed_forward.out_proj": ("fc2",),
    },
    transposed=frozenset(),
    no_weights=re.compile(r"(?!)"),
    to_config=_opt_config,
    from_config=_opt_fields,
)
FAMILIES = {family.model_type: family for family in (GPT2, OPT)}
HEAD = "lm_head.weight"  # in both families, without prefix

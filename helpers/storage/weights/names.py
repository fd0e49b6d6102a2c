"""How two published families name what the course's model holds: its modules, and the fields of their config.json.

Ours, GPT-2's and OPT's names stand side by side here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.gpt import GPTConfig


@dataclass(frozen=True)
class Name:
    """One of our modules, with {i} for the number of its block, and where the families keep it.

    opt         three names where OPT keeps queries, keys and values apart; ours are stacked by rows
    transposed  GPT-2 stores this matrix as (in, out), and nn.Linear as (out, in)
    """

    ours: str
    gpt2: str
    opt: tuple[str, ...]
    transposed: bool = False


_ATTENTION = ("layers.{i}.self_attn.q_proj", "layers.{i}.self_attn.k_proj", "layers.{i}.self_attn.v_proj")
NAMES = (
    Name("token_embedding", "wte", ("embed_tokens",)),
    Name("position_embedding", "wpe", ("embed_positions",)),
    Name("blocks.{i}.norm1", "h.{i}.ln_1", ("layers.{i}.self_attn_layer_norm",)),
    Name("blocks.{i}.attention.qkv", "h.{i}.attn.c_attn", _ATTENTION, transposed=True),
    Name("blocks.{i}.attention.out_proj", "h.{i}.attn.c_proj", ("layers.{i}.self_attn.out_proj",), transposed=True),
    Name("blocks.{i}.norm2", "h.{i}.ln_2", ("layers.{i}.final_layer_norm",)),
    Name("blocks.{i}.feed_forward.expand", "h.{i}.mlp.c_fc", ("layers.{i}.fc1",), transposed=True),
    Name("blocks.{i}.feed_forward.out_proj", "h.{i}.mlp.c_proj", ("layers.{i}.fc2",), transposed=True),
    Name("final_norm", "ln_f", ("final_layer_norm",)),
)
HEAD = "lm_head.weight"  # in both families, without prefix; ours is head.weight
PREFIXES = {"gpt2": ("transformer.", ""), "opt": ("model.decoder.", "decoder.", "")}  # saved with a head or without
EMBEDDING = {"gpt2": "wte.weight", "opt": "embed_tokens.weight"}
NO_WEIGHTS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # GPT-2's causal mask, and the number that hid the future
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_BY_OURS = {name.ours: name for name in NAMES}


def stored_names(ours: str, model_type: str) -> tuple[tuple[str, ...], bool]:
    """(names of the tensors that make up our parameter, without prefix; whether they lie transposed).

    ours        such as "blocks.3.attention.qkv.weight"
    model_type  "gpt2" or "opt"
    """
    if ours == "head.weight":
        return (HEAD,), False
    module, _, kind = ours.rpartition(".")
    block = _BLOCK.match(module)
    name = _BY_OURS[_BLOCK.sub("blocks.{i}.", module)]
    theirs = (name.gpt2,) if model_type == "gpt2" else name.opt
    names = tuple(f"{their.format(i=block and block[1])}.{kind}" for their in theirs)
    return names, name.transposed and model_type == "gpt2" and kind == "weight"


def to_config(theirs: dict) -> GPTConfig:
    """The shape that a published config.json describes, dropout 0. ValueError: what our model cannot follow."""
    readers = {"gpt2": _gpt2_config, "opt": _opt_config}
    if theirs.get("model_type") not in readers:
        raise ValueError(f"model_type must be one of {', '.join(readers)}, got {theirs.get('model_type')!r}")
    return readers[theirs["model_type"]](theirs)


def from_config(config: GPTConfig, model_type: str) -> dict:
    """The fields of a config.json. ValueError: an unknown type, or a shape that the format cannot say."""
    writers = {"gpt2": _gpt2_fields, "opt": _opt_fields}
    if model_type not in writers:
        raise ValueError(f"model_type must be one of {', '.join(writers)}, got {model_type!r}")
    fields = {"model_type": model_type, "vocab_size": config.vocab_size, "tie_word_embeddings": config.tied_head}
    fields["activation_function"] = {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation)
    return fields | writers[model_type](config)


def _gpt2_config(theirs: dict) -> GPTConfig:
    _require(theirs, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    width = _whole(theirs, "n_embd")
    return GPTConfig(
        vocab_size=_whole(theirs, "vocab_size"),
        context_length=_whole(theirs, "n_positions" if "n_positions" in theirs else "n_ctx"),
        emb_dim=width,
        n_heads=_whole(theirs, "n_head"),
        n_layers=_whole(theirs, "n_layer"),
        ff_dim=_ff_dim(theirs, "n_inner", width),
        drop_rate=0.0,
        tied_head=_flag(theirs, "tie_word_embeddings"),
        activation=_activation(theirs, "gelu_new"),
        norm_eps=theirs.get("layer_norm_epsilon", 1e-5),
    )


def _gpt2_fields(config: GPTConfig) -> dict:
    if config.position_offset:
        raise ValueError(f"GPT-2's format has no position_offset, got {config.position_offset}: save it as 'opt'")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "n_positions": config.context_length,
        "n_embd": config.emb_dim,
        "n_head": config.n_heads,
        "n_layer": config.n_layers,
        "n_inner": config.ff_dim,
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.drop_rate,
        "embd_pdrop": config.drop_rate,
        "attn_pdrop": config.drop_rate,
    }


def _opt_config(theirs: dict) -> GPTConfig:
    _require(theirs, do_layer_norm_before=True, layer_norm_elementwise_affine=True, _remove_final_layer_norm=False)
    width = _whole(theirs, "hidden_size")
    if theirs.get("word_embed_proj_dim", width) != width:
        raise ValueError(
            f"word_embed_proj_dim is {theirs['word_embed_proj_dim']} and hidden_size {width}: the course's model has "
            "no projection between embedding and stream, as OPT-350M has; OPT-125M and the larger ones fit"
        )
    return GPTConfig(
        vocab_size=_whole(theirs, "vocab_size"),
        context_length=_whole(theirs, "max_position_embeddings"),
        emb_dim=width,
        n_heads=_whole(theirs, "num_attention_heads"),
        n_layers=_whole(theirs, "num_hidden_layers"),
        ff_dim=_ff_dim(theirs, "ffn_dim", width),
        drop_rate=0.0,
        qkv_bias=_flag(theirs, "enable_bias"),
        linear_bias=_flag(theirs, "enable_bias"),
        tied_head=_flag(theirs, "tie_word_embeddings"),
        activation=_activation(theirs, "relu"),
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
        "enable_bias": config.linear_bias,
        "do_layer_norm_before": True,
        "dropout": config.drop_rate,
        "attention_dropout": config.drop_rate,
    }


def _ff_dim(theirs: dict, name: str, width: int) -> int | None:
    """None for four times the width, as the presets have it."""
    return None if theirs.get(name) in (None, 4 * width) else _whole(theirs, name)


def _whole(theirs: dict, name: str) -> int:
    value = theirs.get(name)
    if type(value) is not int:
        raise ValueError(f"config.json must give {name} as a whole number, got {value!r}; it has {', '.join(theirs)}")
    return value


def _flag(theirs: dict, name: str) -> bool:
    value = theirs.get(name, True)  # as transformers has it
    if not isinstance(value, bool):
        raise ValueError(f"config.json must give {name} as true or false, got {value!r}")
    return value


def _require(theirs: dict, **expected: bool) -> None:
    for name, value in expected.items():
        if theirs.get(name, value) != value:
            raise ValueError(f"config.json says {name}={theirs[name]!r}, the course's model only knows {value!r}")


def _activation(theirs: dict, default: str) -> str:
    name = theirs.get("activation_function", default)
    if name not in ACTIVATIONS:
        raise ValueError(f"activation_function must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]

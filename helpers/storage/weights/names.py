"""How three published families name what the course's model holds: its modules, and the fields of their config.json.

Ours, GPT-2's, OPT's and Llama's names stand side by side here and nowhere else.
"""

import re
from dataclasses import dataclass

from helpers.gpt import GPTConfig, require_one_of


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
LLAMA = {  # ours -> theirs, of the family that SmolLM2 belongs to; it is read, and not written
    "token_embedding": ("embed_tokens",),
    "blocks.{i}.norm1": ("layers.{i}.input_layernorm",),
    "blocks.{i}.attention.qkv": _ATTENTION,
    "blocks.{i}.attention.out_proj": ("layers.{i}.self_attn.o_proj",),
    "blocks.{i}.norm2": ("layers.{i}.post_attention_layernorm",),
    "blocks.{i}.feed_forward.gate": ("layers.{i}.mlp.gate_proj",),
    "blocks.{i}.feed_forward.expand": ("layers.{i}.mlp.up_proj",),
    "blocks.{i}.feed_forward.out_proj": ("layers.{i}.mlp.down_proj",),
    "final_norm": ("norm",),
}
HEAD = "lm_head.weight"  # in all families, without prefix; ours is head.weight
PREFIXES = {  # saved with a head or without
    "gpt2": ("transformer.", ""),
    "opt": ("model.decoder.", "decoder.", ""),
    "llama": ("model.", ""),
}
EMBEDDING = {"gpt2": "wte.weight", "opt": "embed_tokens.weight", "llama": "embed_tokens.weight"}
# GPT-2's causal mask, and the number that hid the future; the speeds of rotation, which follow from the config
NO_WEIGHTS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
_SIZES = dict(
    vocab_size="vocab_size", context_length="max_position_embeddings", emb_dim="hidden_size",
    n_heads="num_attention_heads", n_layers="num_hidden_layers",
)  # fmt: skip
FIELDS = {  # sizes in our config -> theirs, in config.json
    "gpt2": dict(
        vocab_size="vocab_size", context_length="n_positions", emb_dim="n_embd", n_heads="n_head", n_layers="n_layer",
        ff_dim="n_inner",
    ),
    "opt": _SIZES | {"ff_dim": "ffn_dim"},
    "llama": _SIZES | {"ff_dim": "intermediate_size"},
}  # fmt: skip
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
DEFAULT_ACTIVATION = {"gpt2": "gelu_new", "opt": "relu"}
REQUIRED = {  # switches that our model has in one position only
    "gpt2": dict(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False),
    "opt": dict(do_layer_norm_before=True, layer_norm_elementwise_affine=True, _remove_final_layer_norm=False),
    "llama": dict(hidden_act="silu", attention_bias=False, mlp_bias=False, rope_scaling=None),
}
DROPOUTS = {"gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"), "opt": ("dropout", "attention_dropout")}
CLASSES = {"gpt2": "GPT2LMHeadModel", "opt": "OPTForCausalLM"}  # of transformers
SINCE_GPT2 = dict(norm="layernorm", positions="learned", feed_forward="mlp", n_kv_heads=None)  # in their formats
MAX_SIZE = 1 << 24  # of a vocabulary, a width, a context
OPT_OFFSET, OPT_EPS = 2, 1e-5  # of OPT alone: two unused rows of positions, an epsilon that its config cannot say
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_BY_OURS = {name.ours: name for name in NAMES}


def stored_names(ours: str, model_type: str, prefix: str) -> tuple[tuple[str, ...], bool]:
    """(names of the tensors that make up our parameter; whether they lie transposed).

    ours        such as "blocks.3.attention.qkv.weight"
    model_type  "gpt2", "opt" or "llama"
    prefix      of all their names but the head's, from PREFIXES
    """
    if ours == "head.weight":
        return (HEAD,), False
    module, _, kind = ours.rpartition(".")
    block = _BLOCK.match(module)
    module = _BLOCK.sub("blocks.{i}.", module)
    if model_type == "llama":
        theirs, transposed = LLAMA[module], False
    else:
        name = _BY_OURS[module]
        theirs = (name.gpt2,) if model_type == "gpt2" else name.opt
        transposed = name.transposed and model_type == "gpt2" and kind == "weight"
    return tuple(f"{prefix}{their.format(i=block and block[1])}.{kind}" for their in theirs), transposed


def to_config(theirs: dict) -> GPTConfig:
    """The shape that a published config.json describes, dropout 0. ValueError: what our model cannot follow."""
    model_type = theirs.get("model_type")
    require_one_of(FIELDS, model_type=model_type)
    for name, value in REQUIRED[model_type].items():
        if theirs.get(name, value) != value:
            raise ValueError(f"config.json says {name}={theirs[name]!r}, the course's model only knows {value!r}")
    sizes = {ours: _whole(theirs, name) for ours, name in FIELDS[model_type].items() if ours != "ff_dim"}
    ff_name, width = FIELDS[model_type]["ff_dim"], sizes["emb_dim"]
    if theirs.get(ff_name) not in (None, 4 * width):  # four times the width is None, as the presets have it
        sizes["ff_dim"] = _whole(theirs, ff_name)
    if theirs.get("word_embed_proj_dim", width) != width:
        raise ValueError(
            f"word_embed_proj_dim is {theirs['word_embed_proj_dim']} and hidden_size {width}: the course's model has "
            "no projection between embedding and stream, as OPT-350M has; OPT-125M and the larger ones fit"
        )
    if model_type == "llama":
        return _to_llama(theirs, sizes)
    activation = theirs.get("activation_function", DEFAULT_ACTIVATION[model_type])
    require_one_of(ACTIVATIONS, activation_function=activation)
    switches = dict(activation=ACTIVATIONS[activation], tied_head=_flag(theirs, "tie_word_embeddings"), drop_rate=0.0)
    if model_type == "gpt2":
        return GPTConfig(**sizes, **switches, norm_eps=theirs.get("layer_norm_epsilon", 1e-5))
    bias = _flag(theirs, "enable_bias")
    return GPTConfig(**sizes, **switches, qkv_bias=bias, linear_bias=bias, position_offset=OPT_OFFSET)


def _to_llama(theirs: dict, sizes: dict) -> GPTConfig:
    head_dim = sizes["emb_dim"] // sizes["n_heads"]
    if theirs.get("head_dim") not in (None, head_dim):
        raise ValueError(
            f"head_dim is {theirs['head_dim']}, the course's model only knows {head_dim}, its width by heads"
        )
    rope = theirs.get("rope_parameters") or theirs  # where newer editions of transformers write the base
    if not isinstance(rope, dict) or rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ValueError(f"the rotation is {rope!r:.100}, the course's model only knows the plain rotation")
    base = rope.get("rope_theta", theirs.get("rope_theta", 10_000.0))
    if theirs.get("num_key_value_heads") is not None:
        sizes["n_kv_heads"] = _whole(theirs, "num_key_value_heads")
    return GPTConfig(
        **sizes, norm="rmsnorm", positions="rotary", feed_forward="swiglu", qkv_bias=False, linear_bias=False,
        drop_rate=0.0, norm_eps=theirs.get("rms_norm_eps", 1e-6), rotary_base=base,
        rotary_pairs=theirs.get("rotary_pairs", "halves"),  # the hub's files; a field of ours where it is GGUF's order
        tied_head=_flag(theirs, "tie_word_embeddings", False),
    )  # fmt: skip


def from_config(config: GPTConfig, model_type: str) -> dict:
    """The fields of a config.json. ValueError: an unknown type, or a shape that the format cannot say."""
    require_one_of(CLASSES, model_type=model_type)
    changed = [name for name, value in SINCE_GPT2.items() if getattr(config, name) != value]
    if changed:
        raise ValueError(f"{model_type}'s format has no {', '.join(changed)}: `checkpoint.save_model` keeps any shape")
    fields = {theirs: getattr(config, ours) for ours, theirs in FIELDS[model_type].items()}
    fields |= {"model_type": model_type, "architectures": [CLASSES[model_type]]}
    fields |= {"tie_word_embeddings": config.tied_head} | dict.fromkeys(DROPOUTS[model_type], config.drop_rate)
    fields["activation_function"] = {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation)
    if model_type == "gpt2":
        if config.position_offset:
            raise ValueError(f"GPT-2's format has no position_offset, got {config.position_offset}: save it as 'opt'")
        return fields | {"layer_norm_epsilon": config.norm_eps}
    offset, eps, biases = config.position_offset, config.norm_eps, (config.qkv_bias, config.linear_bias)
    if (offset, eps) != (OPT_OFFSET, OPT_EPS) or biases[0] != biases[1]:
        raise ValueError(
            f"OPT's format has a position_offset of {OPT_OFFSET}, a norm_eps of {OPT_EPS} and biases everywhere or "
            f"nowhere, got {offset}, {eps}, qkv_bias={biases[0]}, linear_bias={biases[1]}"
        )
    fields |= {"ffn_dim": config.hidden_ff_dim, "word_embed_proj_dim": config.emb_dim}
    return fields | {"enable_bias": config.linear_bias, "do_layer_norm_before": True}


def _whole(theirs: dict, name: str) -> int:
    value = theirs.get(name)
    if type(value) is not int or not 1 <= value <= MAX_SIZE:
        wanted = "as a whole number" if type(value) is not int else f"in [1, {MAX_SIZE:,}]"
        raise ValueError(f"config.json must give {name} {wanted}, got {value!r}; it has {', '.join(theirs)}")
    return value


def _flag(theirs: dict, name: str, default: bool = True) -> bool:
    value = theirs.get(name, default)  # as transformers has it
    if not isinstance(value, bool):
        raise ValueError(f"config.json must give {name} as true or false, got {value!r}")
    return value

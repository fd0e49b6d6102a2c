"""The course's model written as a published one, which the ecosystem's libraries open."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.gpt import GPT
from helpers.storage.weights._families import FAMILIES, GPT2, HEAD, QKV, Family
from helpers.storage.weights._files import SAFE
from helpers.storage.weights._load import CONFIG


def save(model: GPT, folder: str | Path, model_type: str = "gpt2", dtype: torch.dtype | None = None) -> Path:
    """Write the model so that `AutoModelForCausalLM.from_pretrained(folder)` of transformers opens it, and `load` too.

    folder      must not exist yet, or be empty; it appears whole or not at all
    model_type  "gpt2" or "opt"
    dtype       in which weights are stored; None: their own
    return      the folder

    GPT-2's format has a bias everywhere: where the model has none, zeros are written, which is the same function.
    FileExistsError: something is there. ValueError: an unknown type, or a shape that the format cannot say.
    """
    if model_type not in FAMILIES:
        raise ValueError(f"model_type must be one of {', '.join(FAMILIES)}, got {model_type!r}")
    family, folder = FAMILIES[model_type], Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already and not empty: choose another, or remove it first")
    config = _config(model, family, dtype)
    stored = {name: _as(tensor, dtype) for name, tensor in _published(model, family)}
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file(stored, unfinished / SAFE, metadata={"format": "pt"})
        (unfinished / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        os.rename(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def _config(model: GPT, family: Family, dtype: torch.dtype | None) -> dict:
    config = model.config
    if family is GPT2 and config.position_offset:
        raise ValueError(f"GPT-2's format has no position_offset, got {config.position_offset}: save it as 'opt'")
    dtype = dtype or model.token_embedding.weight.dtype
    return {
        "model_type": family.model_type,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied_head,
        "torch_dtype": str(dtype).removeprefix("torch."),
        **family.from_config(config),
    }


def _published(model: GPT, family: Family) -> Iterator[tuple[str, Tensor]]:
    """(their name, tensor) for every parameter, and zeros for biases that their format has and the model has not."""
    prefix = family.prefixes[0]
    for ours, parameter in model.named_parameters():
        if ours == "head.weight":
            yield HEAD, parameter.detach()
            continue
        source = family.source(ours)
        for name, piece in zip(source.names, parameter.detach().chunk(len(source.names)), strict=True):
            yield prefix + name, piece.T if source.transposed else piece
    if family is GPT2:
        for i, block in enumerate(model.blocks):
            for module in (QKV, "attention.out_proj", "feed_forward.expand", "feed_forward.out_proj"):
                layer = block.get_submodule(module)
                if layer.bias is None:
                    name = family.source(f"blocks.{i}.{module}.bias").names[0]
                    yield prefix + name, layer.weight.new_zeros(layer.out_features)


def _as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.detach().to("cpu", dtype or tensor.dtype).clone(memory_format=torch.contiguous_format)

"""The course's model written as a published one, which the ecosystem's libraries open."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from helpers.gpt import GPT, require_kind
from helpers.storage.checkpoint.folder import LITTER, require_finite
from helpers.storage.files import as_path, folder_aside, save_tensors
from helpers.storage.weights.load import CONFIG, SAFE, require_float
from helpers.storage.weights.names import NAMES, PREFIXES, from_config, stored_names


def save(model: GPT, folder: str | Path, model_type: str = "gpt2", dtype: torch.dtype | None = None) -> Path:
    """Write the model so that `AutoModelForCausalLM.from_pretrained(folder)` of transformers opens it, and `load` too.

    folder      must not exist yet, or be empty; it appears whole or not at all
    model_type  "gpt2" or "opt"
    dtype       in which weights are stored; None: their own
    return      the folder

    GPT-2's format has a bias everywhere: where the model has none, zeros are written, which is the same function.
    FileExistsError: something is there. ValueError: an unknown type, a shape that the format cannot say, a dtype that
    is not of floating point, or NaN or infinity, also where a number is too large for `dtype`.
    StorageError: it cannot be written.
    """
    require_kind(GPT, model=model)
    folder = as_path(folder)
    dtype = dtype or model.token_embedding.weight.dtype
    require_float(dtype)
    fields = from_config(model.config, model_type)
    fields["torch_dtype"] = str(dtype).removeprefix("torch.")
    if folder.exists() and (not folder.is_dir() or any(not LITTER.fullmatch(p.name) for p in folder.iterdir())):
        raise FileExistsError(f"{folder} is there already and not empty: choose another, or remove it first")
    stored = {
        name: tensor.to("cpu", dtype).clone(memory_format=torch.contiguous_format)
        for name, tensor in _published(model, model_type)
    }
    require_finite(SAFE, stored)
    with folder_aside(folder) as aside:
        save_tensors(aside / SAFE, stored, {"format": "pt"})
        (aside / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    return folder


def _published(model: GPT, model_type: str) -> Iterator[tuple[str, Tensor]]:
    """(their name, tensor) for every parameter, and zeros for biases that GPT-2's format has and the model has not."""
    prefix = PREFIXES[model_type][0]
    for ours, parameter in model.named_parameters():
        names, transposed = stored_names(ours, model_type, prefix)
        for name, piece in zip(names, parameter.detach().chunk(len(names)), strict=True):
            yield name, piece.T if transposed else piece
    if model_type == "gpt2":
        linear = [name.ours for name in NAMES if name.transposed]
        for ours in (module.format(i=i) for i in range(model.config.n_layers) for module in linear):
            layer = model.get_submodule(ours)
            if layer.bias is None:
                yield stored_names(f"{ours}.bias", "gpt2", prefix)[0][0], layer.weight.new_zeros(layer.out_features)

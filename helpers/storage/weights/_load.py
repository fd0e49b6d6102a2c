"""A published folder read into the course's model, one tensor at a time, every tensor accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from helpers.gpt import GPT, GPTConfig
from helpers.storage.weights._families import FAMILIES, HEAD, Family
from helpers.storage.weights._files import Tensors, opened

CONFIG = "config.json"
SHOWN = 8


def load(
    folder: str | Path,
    *,
    drop_rate: float = 0.0,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> GPT:
    """The model in a folder as published on the hub: GPT-2 of any size, OPT-125M and the larger ones.

    folder     with config.json and model.safetensors (or its shards, or pytorch_model.bin)
    drop_rate  dropout for further training; the published rates are not taken, because the families apply them at
               different places
    dtype      of the weights. float32 also where the file holds float16: training needs float32 weights, whatever
               precision multiplies them
    return     GPT in evaluation mode. On the way memory holds the model and one tensor more

    FileNotFoundError: no such folder, config or weights. ValueError: a config that the course's model cannot follow,
    tensors that are missing, extra or misshapen (all are named), a damaged file.
    Sources: Radford et al. 2019 (GPT-2); Zhang et al. 2022 (OPT).
    """
    folder = Path(folder)
    family, config = _family(folder)
    with torch.device("meta"):  # shapes only: no memory, and no time for random numbers that would be replaced
        model = GPT(replace(config, drop_rate=drop_rate))
    model.to(dtype)
    with opened(folder) as tensors:
        plan = _plan(model, family, tensors)
        model.to_empty(device=device)
        if config.tied_head:
            model.head.weight = model.token_embedding.weight  # `to_empty` has given each one of its own
        for name, target in model.named_parameters():
            _copy(target.data, tensors, *plan[name])
    return model.eval()


def read_config(folder: str | Path) -> GPTConfig:
    """The shape of a published model, dropout 0. FileNotFoundError, ValueError: as for `load`."""
    return _family(Path(folder))[1]


def _family(folder: Path) -> tuple[Family, GPTConfig]:
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"no {CONFIG} in {folder}: expected a folder as published, with its weights beside it")
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        model_type = theirs.get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a JSON object: {error}") from error
    if model_type not in FAMILIES:
        raise ValueError(f"model_type must be one of {', '.join(FAMILIES)}, got {model_type!r}")
    family = FAMILIES[model_type]
    return family, family.to_config(theirs)


def _plan(model: GPT, family: Family, tensors: Tensors) -> dict[str, tuple[tuple[str, ...], bool]]:
    """For each of our parameters the stored names and whether they lie transposed. ValueError: any discrepancy."""
    prefix = next(
        (p for p in family.prefixes if p + family.outside["token_embedding.weight"] in tensors.names),
        family.prefixes[0],
    )
    plan, used, missing, misshapen = {}, set(), [], []
    for ours, parameter in model.named_parameters():
        names, transposed = _stored(ours, family, prefix)
        absent = [name for name in names if name not in tensors.names]
        missing += absent
        used |= set(names)
        if not absent:
            wanted = _piece_shape(parameter, len(names), transposed)
            misshapen += [
                f"{name} is {tensors.shape(name)}, expected {wanted}" for name in names if tensors.shape(name) != wanted
            ]
        plan[ours] = names, transposed
    extra = {name for name in tensors.names - used if not family.no_weights.fullmatch(name.removeprefix(prefix))}
    extra -= _copies_of_the_embedding(model, family, prefix, tensors, extra)
    problems = [
        f"{label}: {_some(found)}"
        for label, found in (("missing", missing), ("extra", sorted(extra)), ("misshapen", misshapen))
        if found
    ]
    if problems:
        raise ValueError("the file does not hold the model that config.json describes; " + "; ".join(problems))
    return plan


def _stored(ours: str, family: Family, prefix: str) -> tuple[tuple[str, ...], bool]:
    if ours == "head.weight":
        return (HEAD,), False
    source = family.source(ours)
    return tuple(prefix + name for name in source.names), source.transposed


def _copies_of_the_embedding(model: GPT, family: Family, prefix: str, tensors: Tensors, extra: set[str]) -> set[str]:
    """A tied head that was stored all the same. ValueError: it is not the embedding."""
    if HEAD not in extra or not model.config.tied_head:
        return set()
    embedding = prefix + family.outside["token_embedding.weight"]
    if embedding in tensors.names and not torch.equal(tensors.read(HEAD), tensors.read(embedding)):
        raise ValueError(
            f"config.json ties the head to the embedding, but {HEAD} differs from {embedding}: "
            'one of them belongs to another model, or the config lacks "tie_word_embeddings": false'
        )
    return {HEAD}


def _piece_shape(parameter: Tensor, n_pieces: int, transposed: bool) -> tuple[int, ...]:
    shape = (parameter.shape[0] // n_pieces, *parameter.shape[1:])
    return shape[::-1] if transposed else shape


def _copy(target: Tensor, tensors: Tensors, names: tuple[str, ...], transposed: bool) -> None:
    for piece, name in zip(target.chunk(len(names)), names, strict=True):
        stored = tensors.read(name)
        piece.copy_(stored.T if transposed else stored)


def _some(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more

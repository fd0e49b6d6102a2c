"""A published folder read into the course's model, one tensor at a time, every tensor accounted for."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from helpers.gpt import GPT, GPTConfig
from helpers.storage.weights.names import EMBEDDING, HEAD, NO_WEIGHTS, PREFIXES, stored_names, to_config

CONFIG, SAFE, SAFE_INDEX, BIN = (
    "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
)  # fmt: skip
FLOATS = {"F64", "F32", "F16", "BF16", torch.float64, torch.float32, torch.float16, torch.bfloat16}
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
    tensors that are missing, extra, misshapen or of integers (all are named), NaN or infinity, a damaged file.
    Sources: Radford et al. 2019 (GPT-2); Zhang et al. 2022 (OPT).
    """
    folder = Path(folder)
    model_type, config = _read_config(folder)
    with _opened(folder) as stored:
        if config.n_layers > len(stored):
            raise ValueError(f"config.json says {config.n_layers} blocks, the file has {len(stored)} tensors")
        with torch.device("meta"):  # shapes only: no memory, and no time for random numbers that would be replaced
            model = GPT(replace(config, drop_rate=drop_rate))
        prefixes, embedding = PREFIXES[model_type], EMBEDDING[model_type]
        prefix = next((p for p in prefixes if p + embedding in stored), prefixes[0])
        plan = {name: stored_names(name, model_type, prefix) for name, _ in model.named_parameters()}
        _account_for_all(model, plan, stored, prefix, prefix + embedding)
        model.to(dtype).to_empty(device=device)
        if config.tied_head:
            model.head.weight = model.token_embedding.weight  # `to_empty` has given each one of its own
        _fill(model, plan, stored)
    return model.eval()


def _fill(model: GPT, plan: dict, stored: dict[str, _Stored]) -> None:
    for ours, parameter in model.named_parameters():
        names, transposed = plan[ours]
        for piece, name in zip(parameter.data.chunk(len(names)), names, strict=True):
            tensor = stored[name].read()
            piece.copy_(tensor.T if transposed else tensor)
            if not piece.isfinite().all():
                raise ValueError(f"{name} holds NaN or infinity, or a number too large for {parameter.dtype}")


def _read_config(folder: Path) -> tuple[str, GPTConfig]:
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"no {CONFIG} in {folder}: expected a folder as published, with its weights beside it")
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(theirs, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(theirs).__name__}")
    return theirs.get("model_type"), to_config(theirs)


@dataclass
class _Stored:
    """A tensor in a file, read when it is asked for."""

    shape: tuple[int, ...]
    dtype: str | torch.dtype
    read: Callable[[], Tensor]


def _account_for_all(model: GPT, plan: dict, stored: dict[str, _Stored], prefix: str, embedding: str) -> None:
    """ValueError: any discrepancy between the names, shapes and types of the file and those of the model."""
    used = [name for names, _ in plan.values() for name in names]
    extra = {name for name in stored.keys() - used if not NO_WEIGHTS.fullmatch(name.removeprefix(prefix))}
    if HEAD in extra and model.config.tied_head and embedding in stored:  # tied, and stored all the same
        extra.remove(HEAD)
        if not torch.equal(stored[HEAD].read(), stored[embedding].read()):
            raise ValueError(
                f"config.json ties the head to the embedding, but {HEAD} differs from {embedding}: "
                'one of them belongs to another model, or the config lacks "tie_word_embeddings": false'
            )
    misshapen, no_floats = [], []
    for ours, parameter in model.named_parameters():
        names, transposed = plan[ours]
        piece = (parameter.shape[0] // len(names), *parameter.shape[1:])
        expected = piece[::-1] if transposed else piece
        for name in stored.keys() & set(names):
            shape, dtype = stored[name].shape, stored[name].dtype
            misshapen += [f"{name} is {shape}, expected {expected}"] if shape != expected else []
            no_floats += [f"{name} is {dtype}"] if dtype not in FLOATS else []
    missing = [name for name in used if name not in stored]
    kinds = {"missing": missing, "extra": sorted(extra), "misshapen": misshapen, "not of floating point": no_floats}
    problems = [f"{kind}: {_some(found)}" for kind, found in kinds.items() if found]
    if problems:
        raise ValueError("the file does not hold the model that config.json describes; " + "; ".join(problems))


def _some(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


@contextmanager
def _opened(folder: Path) -> Iterator[dict[str, _Stored]]:
    """The tensors of a folder for as long as the block lasts: a whole file before shards, as transformers takes them.

    FileNotFoundError: no weights there. ValueError: a file that is damaged, or not what its name says; a .bin is
    opened with `weights_only=True`, so that no code in it runs.
    """
    with ExitStack() as stack:
        if (folder / SAFE).exists():
            yield _safe([folder / SAFE], stack)
        elif (folder / SAFE_INDEX).exists():
            yield _safe(_shards(folder), stack)
        elif (folder / BIN).exists():
            yield _bin(folder / BIN)
        else:
            found = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
            raise FileNotFoundError(f"{folder} has neither {SAFE}, nor {SAFE_INDEX}, nor {BIN}; it has {found}")


def _safe(paths: list[Path], stack: ExitStack) -> dict[str, _Stored]:
    stored = {}
    for path in paths:
        try:
            file = stack.enter_context(safetensors.safe_open(path, framework="pt"))
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path.name} is damaged or no safetensors file: {error}; fetch it again") from error
        for name in sorted(file.keys()):
            view = file.get_slice(name)
            stored[name] = _Stored(tuple(view.get_shape()), view.get_dtype(), partial(file.get_tensor, name))
    return stored


def _shards(folder: Path) -> list[Path]:
    try:
        shards = sorted(set(json.loads((folder / SAFE_INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{SAFE_INDEX} is no index of shards: {error!r}") from error
    for shard in shards:
        if Path(shard).name != shard or not (folder / shard).exists():
            raise FileNotFoundError(f"{SAFE_INDEX} names {shard!r}, which is not in {folder}")
    return [folder / shard for shard in shards]


def _bin(path: Path) -> dict[str, _Stored]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged, or holds more than tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path.name} holds no table of tensors, got {type(state).__name__}")
    return {name: _Stored(tuple(t.shape), t.dtype, t.detach) for name, t in state.items()}

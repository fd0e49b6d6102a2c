"""The tensors of a published folder, one at a time: safetensors, whole or in shards, or OPT's older .bin."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import safetensors
import torch
from torch import Tensor

SAFE, SAFE_INDEX, BIN = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"


class Tensors:
    """Named tensors that are read from disk when they are asked for."""

    def __init__(self, files: dict[str, object]) -> None:
        self._files = files  # name -> an open safetensors file, or the tensor itself mapped from a .bin

    @property
    def names(self) -> set[str]:
        return set(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        file = self._files[name]
        return tuple(file.shape if isinstance(file, Tensor) else file.get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        file = self._files[name]
        return file if isinstance(file, Tensor) else file.get_tensor(name)


@contextmanager
def opened(folder: Path) -> Iterator[Tensors]:
    """The tensors of a folder for as long as the block lasts.

    FileNotFoundError: no weights there. ValueError: a file that is damaged, or not what its name says; a .bin is
    opened with `weights_only=True`, so that no code in it runs.
    """
    with ExitStack() as stack:
        if (folder / SAFE_INDEX).exists():
            yield Tensors(_shards(folder, stack))
        elif (folder / SAFE).exists():
            file = _open(folder / SAFE, stack)
            yield Tensors(dict.fromkeys(file.keys(), file))
        elif (folder / BIN).exists():
            yield Tensors(_bin(folder / BIN))
        else:
            found = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
            raise FileNotFoundError(f"{folder} has neither {SAFE}, nor {SAFE_INDEX}, nor {BIN}; it has {found}")


def _open(path: Path, stack: ExitStack) -> object:
    try:
        return stack.enter_context(safetensors.safe_open(path, framework="pt"))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path.name} is damaged or no safetensors file: {error}; fetch it again") from error


def _shards(folder: Path, stack: ExitStack) -> dict[str, object]:
    try:
        places = json.loads((folder / SAFE_INDEX).read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{SAFE_INDEX} is no index of shards: {error!r}") from error
    files = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard or not (folder / shard).exists():
            raise FileNotFoundError(f"{SAFE_INDEX} names {shard!r}, which is not in {folder}")
        files[shard] = _open(folder / shard, stack)
    held = {shard: set(file.keys()) for shard, file in files.items()}
    absent = [name for name, shard in places.items() if name not in held[shard]]
    if absent:
        raise ValueError(f"{SAFE_INDEX} promises tensors that its files do not hold: {', '.join(absent[:5])}")
    return {name: files[shard] for name, shard in places.items()}


def _bin(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged, or holds more than tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path.name} holds no table of tensors, got {type(state).__name__}")
    return dict(state)

"""The check of notebook 07's exercise 6: a loader of several files passes, and planted mistakes do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file as load_in_numpy
from safetensors.torch import load_file

from tests import exercises


def loaded(folder, *, by_index=True, plain=True, there=True, promised=True, named=True):
    """A loader with its virtues as switches."""
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    held = {}
    for file in sorted(set(weight_map.values())):
        if plain and Path(file).name != file:
            raise ValueError(file if named else "not a plain name")
        if there and not (folder / file).exists():
            raise ValueError(file)
        held[file] = load_file(folder / file)
    missing = [name for name, file in weight_map.items() if name not in held[file]]
    if missing and promised:
        raise ValueError(f"no tensor {missing}")
    if not by_index:
        return {name: tensor for file in sorted(held, reverse=True) for name, tensor in held[file].items()}
    return {name: held[file][name] for name, file in weight_map.items() if name not in missing}


def loaded_by_name(folder):
    """One tensor after the other, each out of its file; what the folder lists is what may be opened."""
    tensors = {}
    for name, file in json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"].items():
        if file not in os.listdir(folder):
            raise ValueError(f"{folder} has no file {file}")
        with safe_open(folder / file, "pt") as opened:
            if name not in list(opened.keys()):
                raise ValueError(f"{file} has no tensor {name}")
            tensors[name] = opened.get_tensor(name)
    return tensors


def loaded_in_numpy(folder):
    """All files first; what fails later is said anew."""
    weight_map = json.loads((folder / "model.safetensors.index.json").read_bytes())["weight_map"]
    if bad := [file for file in weight_map.values() if (folder / file).resolve().parent != folder.resolve()]:
        raise ValueError(f"outside of the folder: {bad}")
    try:
        files = {file: load_in_numpy(folder / file) for file in set(weight_map.values())}
        return {name: files[file][name] for name, file in weight_map.items()}
    except (FileNotFoundError, KeyError) as error:
        raise ValueError(f"{error}, of the files {sorted(set(weight_map.values()))}") from error


RIGHT_ANSWERS = {"w1-pieces": [loaded, loaded_by_name, loaded_in_numpy]}

MISTAKES = [
    ("w1-pieces", lambda folder: load_file(folder / "a.safetensors"), "expected a dictionary of"),
    ("w1-pieces", lambda folder: loaded(folder, by_index=False), "index says which one counts"),
    ("w1-pieces", lambda folder: loaded(folder, there=False), "expected a ValueError, got FileNotFoundError"),
    ("w1-pieces", lambda folder: loaded(folder, promised=False), "name h.9.weight"),
    ("w1-pieces", lambda folder: loaded(folder, plain=False), "name ../other"),
    ("w1-pieces", lambda folder: loaded(folder, named=False), "does not name ../other"),
    ("w1-pieces", lambda folder: list(loaded(folder).items()), "(list)"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

"""The check of notebook 07's exercise 6: a loader of several files passes, and planted mistakes do not."""

from __future__ import annotations

import json
from pathlib import Path

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


RIGHT_ANSWERS = {"w1-pieces": loaded}

MISTAKES = [
    ("w1-pieces", lambda folder: load_file(folder / "a.safetensors"), "expected a dictionary of"),
    ("w1-pieces", lambda folder: loaded(folder, by_index=False), "index says which one counts"),
    ("w1-pieces", lambda folder: loaded(folder, there=False), "expected a ValueError, got FileNotFoundError"),
    ("w1-pieces", lambda folder: loaded(folder, promised=False), "name h.9.weight"),
    ("w1-pieces", lambda folder: loaded(folder, plain=False), "name ../other"),
    ("w1-pieces", lambda folder: loaded(folder, named=False), "does not name ../other"),
    ("w1-pieces", lambda folder: list(loaded(folder).items()), "got list"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

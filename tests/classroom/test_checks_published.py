"""The checks of notebook 07: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_in_numpy
from safetensors.torch import load_file

from tests import exercises


def matrices(stored):
    C = len(stored)
    return tuple(stored[:, i * C : (i + 1) * C].T for i in range(3))


def accounted(expected, found):
    return (
        sorted(set(expected) - set(found)),
        sorted(set(found) - set(expected)),
        sorted(name for name in set(expected) & set(found) if expected[name] != found[name]),
    )


def first_beyond(right, suspect, tolerance, *, ok=lambda gap, tolerance: gap <= tolerance, size=lambda x: x.abs()):
    for i, (a, b) in enumerate(zip(right, suspect, strict=True)):
        if not ok(size(a - b).max(), tolerance):
            return i
    return None


def diagnosis(right, suspect, n_heads, *, look_at_out=True):
    q, k, v = right["qkv"].chunk(3)
    by_head = right["qkv"].view(n_heads, 3, -1, right["qkv"].shape[1]).transpose(0, 1).reshape(right["qkv"].shape)
    qkv, out = right["qkv"], right["out_proj"]
    planted = {
        "none": (qkv, out),
        "swapped": (torch.cat([k, q, v]), out),
        "transposed": (qkv, out.T),
        "by head": (by_head, out),
    }
    for name, (a, b) in planted.items():
        if torch.equal(suspect["qkv"], a) and (not look_at_out or torch.equal(suspect["out_proj"], b)):
            return name
    return "unknown"


def allclose(right, suspect, tolerance):
    agree = [torch.allclose(a, b, atol=tolerance) for a, b in zip(right, suspect, strict=True)]
    return None if all(agree) else agree.index(False)


def only_the_values_count(right, suspect, n_heads):
    return "none" if torch.equal(right["qkv"].sort(0)[0], suspect["qkv"].sort(0)[0]) else "unknown"


def grown(table, n_new):
    return torch.cat([table, table.mean(0, keepdim=True).repeat(n_new, 1)])


def grown_in_place(table, n_new):
    result = grown(table, n_new)
    table += 1
    return result


def first_by_mask(right, suspect, tolerance):
    wrong = torch.stack([~((a - b).abs() <= tolerance).all() for a, b in zip(right, suspect, strict=True)])
    return wrong.nonzero()[0, 0] if wrong.any() else None


def diagnosis_by_rows(right, suspect, n_heads):
    """Which row of the right matrix stands where."""
    C = right["qkv"].shape[1]
    rows = torch.arange(3 * C)
    orders = {
        "none": rows,
        "swapped": torch.cat([rows[C : 2 * C], rows[:C], rows[2 * C :]]),
        "by head": rows.view(n_heads, 3, C // n_heads).permute(1, 0, 2).flatten(),
    }
    found = [n for n, order in orders.items() if torch.allclose(right["qkv"][order], suspect["qkv"])]
    if torch.allclose(right["out_proj"], suspect["out_proj"]):
        return (found or ["unknown"])[0]
    if found == ["none"] and torch.allclose(right["out_proj"].mT, suspect["out_proj"]):
        return "transposed"
    return "unknown"


def grown_by_loop(table, n_new):
    rows = table.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return rows + [mean for _ in range(n_new)]


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


RIGHT_ANSWERS = {
    "w1-three-matrices": [
        matrices,
        lambda s: tuple(part.T for part in s.chunk(3, dim=1)),
        lambda s: [part.T for part in np.hsplit(s.numpy(), 3)],
        lambda s: torch.nn.Parameter(s.unflatten(1, (3, -1)).permute(1, 2, 0)),
    ],
    "w1-account": [
        accounted,
        lambda e, f: [sorted(e.keys() - f), sorted(f.keys() - e), [n for n in sorted(e) if f.get(n, e[n]) != e[n]]],
        lambda e, f: tuple(np.array(names, dtype=object) for names in accounted(e, f)),
    ],
    "w2-first-wrong": [
        first_beyond,
        first_by_mask,
        lambda r, s, t: next((i for i in range(len(r)) if not torch.allclose(r[i], s[i], rtol=0, atol=t)), None),
    ],
    "w2-diagnose": [
        diagnosis,
        diagnosis_by_rows,
        lambda *a: np.array([diagnosis(*a)])[0],
    ],
    "w4-grow": [grown, grown_by_loop, lambda t, n: np.concatenate([t.numpy(), np.tile(t.numpy().mean(0), (n, 1))])],
    "w1-pieces": [loaded, loaded_by_name, loaded_in_numpy],
}

MISTAKES = [
    ("w1-three-matrices", lambda s: s.chunk(3, 1), "x @ matrix.T"),
    ("w1-three-matrices", lambda s: s.chunk(3), "Which axis"),
    ("w1-three-matrices", lambda s: s.T.reshape(len(s), 3, len(s)).unbind(1), "other queries"),
    ("w1-three-matrices", lambda s: matrices(s)[:2], "expected 3 matrices"),
    ("w1-three-matrices", lambda s: s, "expected 3 matrices, got 5 of them"),
    ("w1-three-matrices", lambda s: matrices(s)[::-1], "the order is queries, keys, values"),
    ("w1-account", lambda e, f: accounted(f, e), "nothing is there"),
    ("w1-account", lambda e, f: [set(names) for names in accounted(e, f)], "Sorted lists"),
    ("w1-account", lambda e, f: [names[::-1] for names in accounted(e, f)], "Sorted"),
    ("w1-account", lambda e, f: [[(n, f[n]) for n in names if n in f] for names in accounted(e, f)], "names"),
    ("w1-account", lambda e, f: (*accounted(e, f)[:2], []), "a matrix is transposed"),
    ("w1-account", lambda e, f: (*accounted(e, f)[:2], sorted(n for n in e if f.get(n) != e[n])), "no shape"),
    ("w1-account", lambda e, f: accounted(e, f)[0], "expected 3 lists"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, size=lambda x: x), "largest absolute"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, ok=lambda gap, t: not gap > t), "NaN"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, ok=lambda gap, t: gap < t), "exactly the tolerance"),
    ("w2-first-wrong", allclose, "large numbers, one off"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) or 0, "equal streams"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) is not None, "(bool)"),
    ("w2-first-wrong", lambda r, s, t: first_beyond(r[1:], s[1:], t), "layer output 2"),
    ("w2-first-wrong", lambda r, s, t: first_beyond(r, s, t, ok=lambda gap, t: gap <= t * 2), "off by a little"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) or None, "embeddings differ"),
    ("w2-diagnose", lambda *a: diagnosis(*a, look_at_out=False), "all of out_proj"),
    ("w2-diagnose", lambda r, s, h: diagnosis(r, s, 2), "head by head"),
    ("w2-diagnose", only_the_values_count, "were swapped"),
    ("w2-diagnose", lambda *a: diagnosis(*a).replace("unknown", "none"), "expected 'unknown'"),
    ("w2-diagnose", lambda *a: diagnosis(*a).title(), "expected 'none', got 'None' (str)"),
    ("w2-diagnose", lambda *a: [diagnosis(*a)], "(list)"),
    ("w4-grow", lambda t, n: torch.cat([t, t.mean().expand(n, t.shape[1])]), "the mean of the old rows"),
    ("w4-grow", lambda t, n: grown(t, 1), "expected a tensor"),
    ("w4-grow", grown_in_place, "changed the caller's"),
    ("w4-grow", lambda t, n: torch.cat([t.mean(0).expand(n, -1), t]), "to the bit"),
    ("w1-pieces", lambda folder: load_file(folder / "a.safetensors"), "expected a dictionary of"),
    ("w1-pieces", lambda folder: loaded(folder, by_index=False), "index says which one counts"),
    ("w1-pieces", lambda folder: loaded(folder, there=False), "expected a ValueError, got FileNotFoundError"),
    ("w1-pieces", lambda folder: loaded(folder, promised=False), "name h.9.weight"),
    ("w1-pieces", lambda folder: loaded(folder, plain=False), "name ../other"),
    ("w1-pieces", lambda folder: loaded(folder, named=False), "does not name ../other"),
    ("w1-pieces", lambda folder: list(loaded(folder).items()), "(list)"),
]


test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

"""The checks of notebook 07: other right answers pass, planted mistakes do not."""

import numpy as np
import torch
from safetensors.torch import load_file

from tests import exercises


def first_by_mask(right, studied, tolerance):
    wrong = torch.stack([~((a - b).abs() <= tolerance).all() for a, b in zip(right, studied, strict=True)])
    return wrong.nonzero()[0, 0] if wrong.any() else None


def grown_by_loop(table, n_new):
    rows = table.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return rows + [mean for _ in range(n_new)]


GAP = "not (a - b).abs().max() <= tolerance"
BY_HEAD = "qkv.view(n_heads, 3, -1, qkv.shape[1]).transpose(0, 1)"
ITEMS = "for name, file in weight_map.items()}"
RIGHT_ANSWERS = {
    "w1-three-matrices": [
        lambda stored: [part.T for part in np.hsplit(stored.numpy(), 3)],
        lambda stored: torch.nn.Parameter(stored.unflatten(1, (3, -1)).permute(1, 2, 0)),
        lambda stored: [stored[:, i : i + len(stored)].T for i in range(0, stored.shape[1], len(stored))],
        lambda stored: stored.T.split(len(stored)),
    ],
    "w1-account": [
        lambda e, f: [sorted(e.keys() - f), sorted(f.keys() - e), [n for n in sorted(e) if f.get(n, e[n]) != e[n]]],
        lambda *a: tuple(np.array(names, dtype=object) for names in exercises.solution("w1-account")(*a)),
        lambda e, f: [*map(sorted, ({*e} - {*f}, {*f} - {*e}, {n for n, _ in e.items() - f.items() if n in f}))],
    ],
    "w2-first-wrong": [
        first_by_mask,
        lambda r, s, t: next((i for i in range(len(r)) if not torch.allclose(r[i], s[i], rtol=0, atol=t)), None),
        (GAP, "not all(abs(x - y) <= tolerance for x, y in zip(a.flatten().tolist(), b.flatten().tolist()))"),
        (GAP, "not torch.dist(a, b, p=math.inf) <= tolerance"),
    ],
    "w2-diagnose": [
        (BY_HEAD, "qkv.unflatten(0, (n_heads, 3, -1)).permute(1, 0, 2, 3)"),
        ("            return name", "            return np.array([name])[0]"),
        (f"{BY_HEAD}.reshape(qkv.shape)", "torch.cat([x for i in range(3) for x in qkv.chunk(3 * n_heads)[i::3]])"),
    ],
    "w4-grow": [
        grown_by_loop,
        lambda t, n: np.concatenate([t.numpy(), np.tile(t.numpy().mean(0), (n, 1))]),
        lambda t, n: torch.vstack([t, *[t.mean(0)] * n]),
        lambda t, n: torch.cat([t, torch.full((n, len(t)), 1 / len(t)) @ t]),
    ],
    "w1-pieces": [
        ("= load_file(folder / file)", "= {name: x.numpy() for name, x in load_file(folder / file).items()}"),
        ("Path(file).name != file", "(folder / file).resolve().parent != folder.resolve()"),
        ("not (folder / file).exists()", "file not in [path.name for path in folder.iterdir()]"),
    ],
}
MISTAKES = {
    "w1-three-matrices": {
        "x @ matrix.T": ("part.T", "part"),
        "Which axis": ("dim=1", "dim=0"),
        "other queries": lambda _, stored: stored.T.reshape(len(stored), 3, -1).unbind(1),
        "the order is queries, keys, values": lambda right, stored: right(stored)[::-1],
    },
    "w1-account": {
        "nothing is there": lambda right, expected, found: right(found, expected),
        "Sorted lists": lambda right, *a: [set(names) for names in right(*a)],
        "Sorted": lambda right, *a: [names[::-1] for names in right(*a)],
        "names": lambda right, e, f: [[(n, f[n]) for n in names if n in f] for names in right(e, f)],
        "a matrix is transposed": lambda right, *a: (*right(*a)[:2], []),
        "no shape": ("expected.keys() & found.keys() if expected[name] != found[name]",
                     "expected if expected[name] != found.get(name)"),
    },
    "w2-first-wrong": {
        "largest absolute": (".abs()", ""),
        "NaN": (GAP, "(a - b).abs().max() > tolerance"),
        "exactly the tolerance": ("<=", "<"),
        "large numbers, one off": (GAP, "not torch.allclose(a, b, atol=tolerance)"),
        "equal streams": lambda right, *a: right(*a) or 0,
        "layer output 2": lambda right, r, s, tolerance: right(r[1:], s[1:], tolerance),
        "off by a little": ("<= tolerance", "<= 2 * tolerance"),
        "embeddings differ": lambda right, *a: right(*a) or None,
    },
    "w2-diagnose": {
        "all of out_proj": (' and torch.equal(studied["out_proj"], wrong_out)', ""),
        "head by head": lambda right, r, s, n_heads: right(r, s, 2),
        "were swapped": lambda right, r, s, h: right(r, s, h).replace("swapped", "none"),
        "expected 'unknown'": ('return "unknown"', 'return "none"'),
        "expected 'none', got 'None' (str)": lambda right, *a: right(*a).title(),
    },
    "w4-grow": {
        "the mean of the old rows": ("mean(0, keepdim=True).expand(n_new, -1)", "mean().expand(n_new, len(table[0]))"),
        "got [0.0000, 0.0000, 0.0000]": lambda right, table, n_new: right(table, n_new).index_fill(
            0, torch.tensor(len(table)), 0.0
        ),
        "expected a tensor": lambda right, table, n_new: right(table, 1),
        "changed the caller's": lambda right, table, n_new: (right(table, n_new), table.add_(1))[0],
        "to the bit": lambda right, table, n_new: right(table, n_new).roll(n_new, 0),
    },
    "w1-pieces": {
        "expected a dictionary of": lambda _, folder: load_file(folder / "a.safetensors"),
        "index says which one counts": (
            f"name: held[file][name] {ITEMS}",
            "name: x for file in sorted(held, reverse=True) for name, x in held[file].items()}",
        ),
        "expected a ValueError, got FileNotFoundError": ("not (folder / file).exists()", "False"),
        "name h.9.weight": ("name not in held[file]", "False", ITEMS, f"{ITEMS[:-1]} if name in held[file]}}"),
        "name ../other": ("Path(file).name != file", "False"),
        "does not name ../other": ('f"{file} leads', 'f"it leads'),
    },
}  # fmt: skip

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

"""The checks of notebook 07: three matrices in one, every tensor accounted for, what went wrong, new rows, pieces."""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, Returned, apart, ask, expect, plain, refused, register, typed

CLOSE = 1e-5
PIECES = "model.safetensors.index.json"
Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, Tensor]


@register("w1-three-matrices")
def three_matrices(answer: Callable[[Tensor], Sequence[Tensor]]) -> None:
    """What each matrix makes of a random x, as `nn.Linear` uses it, against the columns of x @ stored."""
    generator = torch.Generator().manual_seed(3)
    for C in (5, 2, 1):
        stored = torch.randn(C, 3 * C, generator=generator)
        x = torch.randn(4, C, generator=generator)
        parts = ask(answer, f"C = {C}", stored.clone()).items(3, "matrices", "Which axis has 3 C?")
        for i, (part, name) in enumerate(zip(parts, ("queries", "keys", "values"), strict=True)):
            matrix = Returned(part, f"C = {C}, {name}").tensor((C, C), "Which axis has 3 C?")
            wanted = torch.stack([x @ stored[:, i * C + j] for j in range(C)], dim=1).double()
            if not torch.allclose(torch.nn.functional.linear(x.double(), matrix), wanted, atol=CLOSE):
                raise Mistake(
                    f"C = {C}: with your matrix, nn.Linear gives other {name} than x @ stored does. nn.Linear computes "
                    "x @ matrix.T; and the order is queries, keys, values"
                )


@register("w1-account")
def account(answer: Callable[[Shapes, Shapes], tuple[list[str], list[str], list[str]]]) -> None:
    """Small files written out by hand, with what is wrong with each."""
    a, b = ("wte.weight", (7, 3)), ("h.0.ln_1.bias", (3,))
    c, d = ("h.0.attn.c_attn.weight", (3, 9)), ("ln_f.bias", (3,))
    transposed = ("h.0.attn.c_attn.weight", (9, 3))
    for what, expected, found, verdict in (
        ("all as expected", [a, b, c], [c, a, b], ([], [], [])),
        ("nothing is there", [a, b], [], (["h.0.ln_1.bias", "wte.weight"], [], [])),
        ("too much is there", [a], [d, a, b], ([], ["h.0.ln_1.bias", "ln_f.bias"], [])),
        ("a matrix is transposed", [a, c], [a, transposed], ([], [], ["h.0.attn.c_attn.weight"])),
        ("all at once", [c, b, a], [transposed, d, a], (["h.0.ln_1.bias"], ["ln_f.bias"], ["h.0.attn.c_attn.weight"])),
    ):
        returned = ask(answer, what, dict(expected), dict(found))
        got, lists = returned.value, returned.items(3, "lists (missing, extra, misshapen)")
        if lists != list(verdict):
            raise Mistake(
                f"{what}: expected {verdict}, got {typed(got)}. Sorted lists of names; what is absent or superfluous "
                "has no shape to be wrong"
            )


@register("w2-first-wrong")
def first_wrong(answer: Callable[[Sequence[Tensor], Sequence[Tensor], float], int | None]) -> None:
    """Streams that first differ where we say. The close ones are sums of powers of two: exact."""
    for what, tolerance, size, differences, expected in (
        ("equal streams", 1e-4, 1.0, {}, None),
        ("differences below the tolerance", 1e-4, 1.0, {1: 4e-5, 3: -4e-5}, None),
        ("one number is off from layer output 2 on", 1e-4, 1.0, {2: 0.5, 3: 0.25, 4: 0.125}, 2),
        ("the embeddings differ", 1e-4, 1.0, {0: 1.0, 4: 1.0}, 0),
        ("one number is too small", 1e-4, 1.0, {3: -2.0}, 3),
        ("one number is off by a little", 1e-4, 1.0, {1: 3e-4, 4: 1.0}, 1),
        ("it grows: below the tolerance, then above", 1e-4, 1.0, {1: 5e-5, 2: 3e-3}, 2),
        ("one number is NaN", 1e-4, 1.0, {1: math.nan, 4: 1.0}, 1),
        ("large numbers, one off by a little more than the tolerance", 2**-8, 4096.0, {2: 2**-8 + 2**-10, 4: 1.0}, 2),
        ("a difference of exactly the tolerance, which is not more", 2**-8, 1.0, {1: 2**-8, 3: 1.0}, 3),
    ):
        right = [torch.full((2, 3), size * i) for i in range(5)]
        studied = [x.clone() for x in right]
        for i, by in differences.items():
            studied[i][1, 2] += by
        got = answer([x.clone() for x in right], studied, tolerance)
        if plain(got) != expected or isinstance(plain(got), bool):
            raise Mistake(
                f"{what}: expected {expected}, got {typed(got)}. The largest absolute difference of a layer's output "
                "decides, however large the numbers are, and a comparison with NaN is never true"
            )


@register("w2-diagnose")
def diagnose(answer: Callable[[Weights, Weights, int], str]) -> None:
    """Weights in which one of the bugs was injected, or none, or two, or one that has no name."""
    generator = torch.Generator().manual_seed(11)
    H, D = 5, 2  # H is not 3, the number of parts: else head by head, read backwards, would be the same
    C = H * D
    qkv, out_proj = torch.randn(3 * C, C, generator=generator), torch.randn(C, C, generator=generator)
    rows = torch.arange(3 * C)
    swapped = qkv[torch.cat([rows[C : 2 * C], rows[:C], rows[2 * C :]])]
    by_head = qkv[torch.tensor([(h * 3 + part) * D + d for part in range(3) for h in range(H) for d in range(D)])]
    for what, wrong_qkv, wrong_out, expected in (
        ("nothing was changed", qkv, out_proj, "none"),
        ("queries and keys were swapped", swapped, out_proj, "swapped"),
        ("out_proj was transposed", qkv, out_proj.T, "transposed"),
        ("the file was read head by head", by_head, out_proj, "by head"),
        ("keys and values were swapped", torch.cat([qkv[:C], qkv[2 * C :], qkv[C : 2 * C]]), out_proj, "unknown"),
        ("two bugs at once", swapped, out_proj.T, "unknown"),
        ("out_proj was negated", qkv, -out_proj, "unknown"),
    ):
        studied = {"qkv": wrong_qkv.clone(), "out_proj": wrong_out.clone()}
        got = ask(answer, what, {"qkv": qkv.clone(), "out_proj": out_proj.clone()}, studied, H).value
        if plain(got) != expected:
            raise Mistake(
                f"{what}: expected {expected!r}, got {typed(got)}. Inject each bug into the right weights and compare; "
                "all of qkv and all of out_proj must agree"
            )


@register("w4-grow")
def grow(answer: Callable[[Tensor, int], Tensor]) -> None:
    """The mean column by column, added up one number at a time."""
    generator = torch.Generator().manual_seed(7)
    for V, C, n_new in ((7, 3, 2), (5, 4, 11), (1, 3, 1), (4, 2, 0)):
        table = torch.randn(V, C, generator=generator)
        given, case = table.clone(), f"{V} rows of {C}, {n_new} new ones"
        got = ask(answer, case, given, n_new).tensor((V + n_new, C), "The old rows, and the new ones after them")
        expect(torch.equal(given, table), f"{case}: your function changed the caller's table. Make a new one")
        old = torch.equal(got[:V], table.double())
        expect(old, f"{case}: the first {V} rows should be the old ones, to the bit: their ids are in use")
        mean = [sum(float(table[i, j]) for i in range(V)) / V for j in range(C)]
        for row in got[V:]:
            if not torch.allclose(row, torch.tensor(mean, dtype=torch.float64), atol=CLOSE):
                wanted, came = apart(mean, row.tolist(), ".4f")
                raise Mistake(f"{case}: each new row should be {wanted}, the mean of the old rows, got {came}")


@register("w1-pieces")
def load_in_pieces(answer: Callable[[Path], dict[str, Tensor]]) -> None:
    """A folder written here, and then others with one thing wrong, each of which must be refused by name."""
    tensors = {f"h.{i}.weight": torch.arange(float(6 + i)) + 10 * i for i in range(3)}
    first, *others = tensors
    places = {first: "a.safetensors"} | dict.fromkeys(others, "b.safetensors")
    with tempfile.TemporaryDirectory() as place:
        got = ask(answer, "three tensors in two files", _written(Path(place) / "whole", tensors, places)).value
        if not isinstance(got, Mapping) or sorted(got) != sorted(tensors):
            came = sorted(got) if isinstance(got, Mapping) else typed(got)
            raise Mistake(f"three tensors in two files: expected a dictionary of {sorted(tensors)}, got {came}")
        for name, wanted in tensors.items():
            came = Returned(got[name], name).tensor(tuple(wanted.shape), "Which file does the index name for it?")
            if not torch.equal(came, wanted.double()):
                raise Mistake(
                    f"{name}: expected {wanted.tolist()}, got {came.tolist()}. It stands in both files, and the index "
                    "says which one counts"
                )
        save_file(tensors, Path(place) / "other.safetensors")
        for case, named, changed in (
            ("a file is not there", "b.safetensors", {}),
            ("a tensor is in no file", "h.9.weight", {"h.9.weight": "a.safetensors"}),
            ("a way out of the folder", "../other", {first: "../other.safetensors"}),
        ):
            folder = _written(Path(place) / f"copy of {named.strip('./')}", tensors, places | changed)
            (folder / named).unlink(missing_ok=True)  # where a file is named
            said = refused(answer, case, f"The index is a stranger's: refuse, and name {named}", folder)
            expect(named in said, f"{case}: refused, but the message does not name {named}: {said!r}")


def _written(folder: Path, tensors: Weights, places: dict[str, str]) -> Path:
    """Two files and their index: the last two tensors stand in b, and a has an old one under a name of b's."""
    folder.mkdir()
    first, *others = tensors
    old = {others[0]: torch.zeros(7)}
    save_file({first: tensors[first]} | old, folder / "a.safetensors")
    save_file({name: tensors[name] for name in others}, folder / "b.safetensors")
    (folder / PIECES).write_text(json.dumps({"metadata": {"total_size": 84}, "weight_map": places}))
    return folder

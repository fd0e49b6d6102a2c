"""The checks of notebook 03's exercises; each oracle goes another way than the solution."""

import math
import re
import statistics
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, Returned, ask, expect, plain, register, typed

NINETEEN_IN_TWENTY = 1.96  # standard errors to each side


@register("d1-plan")
def plan(answer: Callable[[int, int, int, int, bool], tuple[int, int, int]]) -> None:
    """The windows are laid out one by one, dealt into batches, and the ids that no window has as target are counted."""
    hints = {
        "windows": "How many ids does one window touch, and where is the last one that still fits?",
        "batches": "Is a last batch that is not full kept?",
        "ids that are the target of no window": "Do you count the first id, and count no id twice?",
    }
    cases = [(9, 4, 4, 2, True), (10, 4, 4, 1, True), (23, 4, 2, 3, False), (23, 4, 5, 3, True), (40, 5, 9, 2, False)]
    cases += [(6, 5, 1, 4, False), (6, 5, 1, 4, True), (100, 7, 7, 5, True)]
    for n_ids, T, stride, batch_size, drop_last in cases:
        starts = [start for start in range(0, n_ids, stride) if start + T < n_ids]
        targets = {start + 1 + k for start in starts for k in range(T)}
        dealt = [starts[i : i + batch_size] for i in range(0, len(starts), batch_size)]
        kept = [batch for batch in dealt if len(batch) == batch_size or not drop_last]
        case = f"{n_ids} ids, T={T}, stride={stride}, {batch_size} sequences a batch, drop_last={drop_last}"
        got = ask(answer, case, n_ids, T, stride, batch_size, drop_last).items(3, "numbers")
        for name, expected, number in zip(hints, (len(starts), len(kept), n_ids - len(targets)), got, strict=True):
            Returned(number, case).number(expected, hints[name], unit=f" {name}", digits="g")


@register("d2-shared-targets")
def shared_targets(answer: Callable[[Sequence[int], Sequence[int], int], float]) -> None:
    """Every validation target is held against every training window: does it lie inside?"""
    cases = {
        "the same window": ([0], [0], 4),
        "a window half a step on": ([0, 8], [4], 8),
        "neighbours that only touch": ([0, 8], [4], 4),
        "one id apart": ([10], [11], 5),
        "two validation windows, one on top of the other": ([0], [2, 3], 4),
        "many training windows over one position": ([0, 1, 2, 3], [2, 20], 4),
    }
    for name, (train_starts, val_starts, T) in cases.items():
        positions = [start + k for start in val_starts for k in range(1, T + 1)]
        hits = [any(start < position <= start + T for start in train_starts) for position in positions]
        case = f"{name}: training windows start at {train_starts}, validation windows at {val_starts}, T={T}"
        thought = "Which positions are targets of a window that starts at s, and what do you divide by?"
        thought += f" Here {sum(hits)} of {len(hits)} validation targets are shared"
        ask(answer, case, train_starts, val_starts, T).number(sum(hits) / len(hits), thought)


@register("d2-no-copies")
def no_copies(answer: Callable[[list[str], list[str]], list[str]]) -> None:
    """Words are read off one by one, whatever stands between them; the texts say themselves which may stay."""
    cases = [
        (["The sea.", "A boat.", "The gulls."], ["A boat."]),
        (["The sea.", "a  BOAT.\n", "The gulls."], ["A boat."]),
        (["Twice.", "Once.", "Twice."], ["Never."]),
        (["a part", "apart"], ["apart "]),
        (["A boat.", "A boat. And more."], ["A boat."]),
        (["Não há água."], ["NÃO HÁ\tÁGUA."]),
    ]
    for training, validation in cases:
        judged = [_words(text) for text in validation]
        expected = [text for text in training if _words(text) not in judged]
        given, case = list(training), f"training {training}, validation {validation}"
        got = ask(answer, case, given, list(validation)).value
        if plain(got) != expected:
            raise Mistake(
                f"{case}: expected {expected}, got {typed(got)}. "
                "Which differences between two texts should count, and are the kept texts as they were, in order?"
            )
        kept = given == training
        expect(kept, f"the list of {training} that came in was changed to {given}: return a new one instead")


@register("d3-paired-bar")
def paired_bar(answer: Callable[[Tensor, Tensor, int], tuple[float, float]]) -> None:
    """Losses in eighths of a nat, so that fractions give the mean and Python's statistics the spread."""
    hints = {
        "difference A - B": "Do you subtract token by token before you average, and how many block means are there?",
        "half-width": "Standard error of the block means of the differences (spread with n - 1, over the root of the "
        "number of blocks), times 1.96, to one side",
    }
    cases = [
        ([8, 12, 20, 4, 16, 24], [4, 12, 12, 8, 8, 20], 1),
        ([8, 12, 20, 4, 16, 24], [4, 12, 12, 8, 8, 20], 2),
        ([8, 12, 20, 4, 16, 24, 80], [4, 12, 12, 8, 8, 20, 8], 3),
        ([40, 0, 40, 0, 41, 0, 40, 2], [38, 0, 39, 1, 38, 0, 40, 0], 2),
    ]
    for a, b, block in cases:
        differences = [Fraction(x - y, 8) for x, y in zip(a, b, strict=True)]
        whole = range(0, len(differences) - block + 1, block)
        means = [sum(differences[i : i + block]) / block for i in whole]
        bar = NINETEEN_IN_TWENTY * math.sqrt(statistics.variance(means) / len(means))
        case = f"losses of A {[x / 8 for x in a]}, of B {[x / 8 for x in b]}, blocks of {block}"
        got = ask(answer, case, torch.tensor(a) / 8, torch.tensor(b) / 8, block).items(2, "numbers")
        for name, expected, number in zip(hints, (float(sum(means) / len(means)), bar), got, strict=True):
            Returned(number, f"{case}, {name}").number(expected, hints[name], rel_tol=1e-4, abs_tol=1e-6)


@register("d4-floor")
def floor(answer: Callable[[Tensor], float]) -> None:
    """Chains whose shares of time follow from a symmetry or from two numbers, so that no matrix is ever solved."""
    two = [("a word that stays", 0.1, 0.5), ("a fair coin", 0.5, 0.5), ("hardly ever the second", 0.01, 0.9)]
    cases = [(name, [[1 - a, a], [b, 1 - b]], [b / (a + b), a / (a + b)]) for name, a, b in two]
    ring = [[0.0, 0.9, 0.1], [0.1, 0.0, 0.9], [0.9, 0.1, 0.0]]  # columns sum to 1 too: equal shares
    cases.append(("a ring with words that cannot follow", ring, [1 / 3] * 3))
    cases.append(("there and back, no choice", [[0.0, 1.0], [1.0, 0.0]], [1 / 2] * 2))
    there_and_back = [[0.0, 0.9, 0.1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]  # the first word comes every other time
    cases.append(("there and back, with a choice", there_and_back, [0.5, 0.45, 0.05]))
    for name, rows, shares in cases:
        expected = -sum(s * p * math.log(p) for s, row in zip(shares, rows, strict=True) for p in row if p)
        thought = "How often does each word come in a long text, and what is 0 ln 0?"
        if name.startswith("there"):
            thought += " Do your shares settle, or do they go there and back too?"
        case = f"{name}: rows {rows}"
        got = ask(answer, case, torch.tensor(rows, dtype=torch.float64))
        got.number(expected, thought, unit=" nats", digits=".5f", rel_tol=1e-4, abs_tol=1e-6)


def _words(text: str) -> list[str]:
    return re.findall(r"\S+", text.casefold())

"""The checks of notebook 11: a block of few bits, heads that share keys, options by the byte, chance, pairs."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb

import torch
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, Returned, apart, ask, register, utf8_length


@register("r4-block")
def block(answer: Callable[[list[float], int], Sequence[float]]) -> None:
    """Each number against all levels, the nearest of which it must be."""
    for numbers, n_bits in (
        ([0.0, 1.0, 2.0, 3.0], 2),
        ([-1.0, 0.31, 0.9, 2.0, 1.24], 2),
        ([0.5, -0.25, 0.125, 0.3, 0.8, -0.9], 3),
        ([10.0, 10.5, 11.0, 14.0], 4),
        ([0.7, 0.7, 0.7], 4),
    ):
        case = f"{numbers} with {n_bits} bits"
        got = ask(answer, case, list(numbers), n_bits).items(len(numbers), "numbers")
        step = (max(numbers) - min(numbers)) / (2**n_bits - 1)
        levels = [min(numbers) + step * i for i in range(2**n_bits)]
        for number, came in zip(numbers, got, strict=True):
            nearest = min(levels, key=lambda level: abs(level - number))
            says = f"There are {2**n_bits} levels, from the smallest number to the largest, both included"
            Returned(came, f"{case}, the number {number}").number(nearest, says, rel_tol=1e-5, abs_tol=1e-6)


@register("r3-head")
def head(answer: Callable[[int, int, int], int]) -> None:
    """Lists of who reads whom, made by repeating each key-value head."""
    for n_heads, n_kv_heads in ((9, 3), (8, 2), (4, 4), (6, 1), (12, 4)):
        readers = [kv for kv in range(n_kv_heads) for _ in range(n_heads // n_kv_heads)]
        for i, expected in enumerate(readers):
            case = f"query head {i} of {n_heads}, {n_kv_heads} key-value heads"
            tiled = {"Neighbours share one: this is the order of the bug 'heads tiled'": i % n_kv_heads}
            says = f"The {n_heads} query heads read, in order, {readers}"
            ask(answer, case, i, n_heads, n_kv_heads).number(expected, says, slips=tiled, digits="g")


@register("r5-byte")
def byte(answer: Callable[[list[list[float]], list[str]], int]) -> None:
    """Options of which the sum, the mean by token, the mean by character and the mean by byte choose differently."""
    for case, log_probs, options, expected in (
        ("the shortest has the highest sum", [[-4.0], [-3.0, -3.0]], ["ab", "abcdefgh"], 1),
        ("many tokens, few bytes", [[-1.0, -1.0, -1.0], [-2.5]], ["abc", "abcde"], 1),
        ("letters of two bytes", [[-4.5], [-4.0]], ["água áéí", "agua aei"], 0),
        ("the first is the best", [[-1.0], [-2.0], [-3.0]], ["aa", "bb", "cc"], 0),
        ("the last is the best", [[-9.0, -1.0], [-8.0], [-2.0]], ["aaa", "bbb", "ccc"], 2),
    ):
        got = ask(answer, case, [list(tokens) for tokens in log_probs], list(options)).one_number()
        if got != expected:
            means = [
                f"{sum(tokens) / utf8_length(option):.2f}" for tokens, option in zip(log_probs, options, strict=True)
            ]
            raise Mistake(
                f"{case}: ln p of the tokens {log_probs} of {options}: expected {expected}, got {got:g}. Per byte of "
                f"UTF-8 they have {', '.join(means)}"
            )


@register("r5-chance")
def chance(answer: Callable[[int, int, int], float]) -> None:
    """Fractions, added up one guess at a time."""
    for n_right, n, n_options in ((1, 1, 4), (0, 5, 4), (2, 3, 2), (9, 20, 4), (20, 20, 4), (4, 4, 2)):
        distribution = [Fraction(1)]
        for _ in range(n):
            p = Fraction(1, n_options)
            hit, miss = [0, *(q * p for q in distribution)], [*(q * (1 - p) for q in distribution), 0]
            distribution = [a + b for a, b in zip(hit, miss, strict=True)]
        case = f"at least {n_right} of {n}, {n_options} options"
        exactly = float(distribution[n_right])
        slips = {
            "This is the probability of exactly that many": exactly,
            "More than that many is one step too far": float(sum(distribution[n_right + 1 :])),
        }
        says = f"Exactly k right have {comb(n, n_right)} ways for k = {n_right}; add up all k from there"
        expected = float(sum(distribution[n_right:]))
        ask(answer, case, n_right, n, n_options).number(expected, says, slips=slips, digits=".6g")


@register("r4-bits")
def bits(answer: Callable[[int, int, float, float], Sequence[float]]) -> None:
    """Numbers by hand: bits of a whole block, and half the distance of its levels."""
    for n_bits, size, low, high in ((4, 32, 0.0, 15.0), (3, 64, -1.0, 6.0), (8, 16, 0.0, 1.0), (2, 128, -0.5, 0.1)):
        case = f"{n_bits} bits, {size} weights in a block, from {low} to {high}"
        got = ask(answer, case, n_bits, size, low, high).items(2, "numbers (bits per weight, error)")
        whole = size * n_bits + 16 + 16
        slips = {"Without scale and minimum": float(n_bits), "The minimum takes 16 bits too": (whole - 16) / size}
        Returned(got[0], f"{case}, bits").number(whole / size, f"The block takes {whole} bits", slips=slips)
        levels = torch.linspace(low, high, 2**n_bits, dtype=torch.float64)
        step = float(levels[1] - levels[0])
        slips = {"This is a whole step": step, "There is one step less than levels": (high - low) / 2**n_bits / 2}
        Returned(got[1], f"{case}, error").number(
            step / 2, "Half the distance of two levels", slips=slips, digits=".5g"
        )


@register("r3-pairs")
def pairs(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Rows that carry their number, put where a loop over heads and pairs puts them."""
    for n_heads, D, C in ((1, 6, 2), (3, 4, 5), (2, 8, 3), (5, 2, 1)):
        case = f"{n_heads} heads, D = {D}, C = {C}"
        rows = torch.arange(n_heads * D).float()[:, None] + torch.arange(C) / 10
        wanted = torch.empty_like(rows)
        for h in range(n_heads):
            for i in range(D // 2):
                wanted[h * D + i], wanted[h * D + i + D // 2] = rows[h * D + 2 * i], rows[h * D + 2 * i + 1]
        came = ask(answer, case, rows.clone(), n_heads)
        got = came.tensor(tuple(rows.shape), "The shape stays, the rows change places")
        if not torch.allclose(got, wanted.double()):
            column = int((got - wanted).abs().amax(0).argmax())
            right, came = apart(wanted[:, column].tolist(), got[:, column].tolist(), "g")
            raise Mistake(
                f"{case}: expected {right} in column {column}, got {came}. In each head the first half takes its even "
                "rows, the second half its odd ones"
            )

"""The checks of notebook 09's exercises; each oracle goes another way than the solution."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import torch

from helpers.checks.grader import Mistake, one_number, register

MEBI, GIBI = 2**20, 2**30


@register("x1-flops")
def flops(answer: Callable[[int, int, int, int], float]) -> None:
    """Each product of a row of T tokens is written down with its three sizes, three times: forward, and twice back."""
    for C, n_layers, V, T in [(2, 1, 3, 1), (8, 1, 11, 5), (64, 3, 101, 17), (768, 12, 50257, 1024)]:
        per_block = [(T, C, 3 * C), (T, C, T), (T, T, C), (T, C, C), (T, C, 4 * C), (T, 4 * C, C)]
        products = per_block * n_layers + [(T, C, V)]
        expected = Fraction(3 * sum(2 * math.prod(sizes) for sizes in products), T)
        case = f"C={C}, {n_layers} blocks, V={V}, T={T}"
        got = one_number(answer(C, n_layers, V, T), case)
        if not math.isclose(got, expected, rel_tol=1e-9):
            raise Mistake(
                f"{case}: expected {int(expected):,} FLOPs per token, got {got:,.0f}. "
                "Count the blocks' matrices, the head and attention itself; then forward once and backward twice."
            )


@register("x2-memory")
def memory(answer: Callable[[int, int, int, int], float]) -> None:
    """The tensors are made, on a device that holds shapes only, and measured."""
    for n_params, B, T, V in [(1, 1, 1, 1), (10, 0, 4, 9), (1000, 2, 5, 7), (124_439_808, 4, 1024, 50257)]:
        weights = torch.empty(n_params, dtype=torch.float32, device="meta")
        scores = torch.empty((B, T, V), dtype=torch.float32, device="meta")
        whole = [weights, *(torch.empty_like(weights) for _ in ("gradient", "first moment", "second moment"))]
        whole += [scores, *(torch.empty_like(scores) for _ in ("their gradient", "gradient of the logits"))]
        expected = sum(tensor.nbytes for tensor in whole)
        case = f"{n_params:,} parameters, B={B}, T={T}, V={V}"
        got = one_number(answer(n_params, B, T, V), case)
        if not math.isclose(got, expected, rel_tol=1e-9):
            raise Mistake(
                f"{case}: expected {expected:,} bytes, got {got:,.0f}. How many numbers of 4 bytes are kept per "
                "parameter, and how many times does a (B, T, V) tensor stand there on the way back?"
            )


@register("x2-micro-batch")
def micro_batch(answer: Callable[[int, Callable[[int], int], int], int]) -> None:
    """The machine's size is set so that the answer is known: exactly what that many rows take, or a byte less."""
    cases = [
        (12, 6, 100, 7),
        (16, 4, 3 * GIBI, 700 * MEBI),
        (12, 4, 2 * GIBI, 31 * MEBI),
        (10, 10, 5, 1),
        (7, 1, 40, 11),
        (1, 1, 9, 2),
    ]
    for batch_size, expected, always, per_row in cases:
        peak = _line(always, per_row)
        larger = [n for n in range(expected + 1, batch_size + 1) if batch_size % n == 0]
        for room in (peak(expected), *(peak(larger[0]) - 1 for _ in larger[:1])):
            _expect_rows(answer(batch_size, peak, room), expected, batch_size, peak, room)
    peak = _line(50, 10)
    _expect_rows(answer(8, peak, 59), 0, 8, peak, 59)


@register("x3-bill")
def bill(answer: Callable[[float, float, float, float, float], float]) -> None:
    """The hour is asked what it can do: FLOPs in it, tokens in it, and how many such hours."""
    cases = [
        (1.0, 600.0, 1.0, 1.0, 2.0),
        (124e6, 10e9, 0.4, 312e12, 1.5),
        (1.5e9, 30e9, 0.25, 65e12, 0.0),
        (125e6, 2e8, 0.1, 65e12, 0.35),
    ]
    for n_params, n_tokens, share, peak, price in cases:
        tokens_an_hour = 3600 * share * peak / n_params / 6
        expected = price / tokens_an_hour * n_tokens
        case = f"{n_params:,.0f} parameters, {n_tokens:,.0f} tokens, {share:.0%} of {peak:.3g} FLOP/s, {price} an hour"
        got = one_number(answer(n_params, n_tokens, share, peak, price), case)
        if not math.isclose(got, expected, rel_tol=1e-6, abs_tol=1e-12):
            raise Mistake(
                f"{case}: expected {expected:,.4g}, got {got:,.4g}. How many FLOPs is a token in training, how many "
                "of the peak's FLOPs are used, and how many seconds has an hour?"
            )


@register("x4-ring")
def ring(answer: Callable[[float, int, float, float], float]) -> None:
    """A ring is played: each worker passes on one piece a round, until all have all sums."""
    cases = [(1000.0, 1, 10.0, 1.0), (1000.0, 2, 10.0, 0.0), (1000.0, 4, 10.0, 0.5), (4.98e8, 8, 3e11, 1e-5)]
    for n_bytes, n_workers, bytes_per_s, latency_s in cases:
        expected = _rounds(n_workers) * (latency_s + n_bytes / n_workers / bytes_per_s)
        case = f"{n_bytes:g} bytes, {n_workers} workers, {bytes_per_s:g} bytes/s, {latency_s:g} s a message"
        got = one_number(answer(n_bytes, n_workers, bytes_per_s, latency_s), case)
        if not math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-15):
            raise Mistake(
                f"{case}: expected {expected:.6g} s, got {got:.6g}. How many rounds has a ring until every worker "
                "has every sum, and how large is the piece that it passes on in each?"
            )


def _line(always: int, per_row: int) -> Callable[[int], int]:
    return lambda rows: always + per_row * rows


def _expect_rows(got: object, expected: int, batch_size: int, peak: Callable[[int], int], room: int) -> None:
    always, each = peak(0), peak(1) - peak(0)
    case = f"a batch of {batch_size} rows; {always:,} bytes always, {each:,} more for each at once; room for {room:,}"
    if one_number(got, case) != expected:
        raise Mistake(
            f"{case}: expected {expected} rows at once, got {got!r}. The rows must fit (the last byte may be used), "
            "and pieces of one size must make up the batch; 0 where not even one row fits."
        )


def _rounds(n_workers: int) -> int:
    """Rounds of a ring until each worker has each piece's sum: pieces are added on the way, then handed round."""
    summands = [[{worker} for _ in range(n_workers)] for worker in range(n_workers)]  # [worker][piece]
    everybody, rounds = set(range(n_workers)), 0
    while any(held != everybody for pieces in summands for held in pieces):
        sent = [((w - rounds) % n_workers, set(summands[w][(w - rounds) % n_workers])) for w in range(n_workers)]
        for worker, (piece, held) in enumerate(sent):
            summands[(worker + 1) % n_workers][piece] |= held
        rounds += 1
    return rounds

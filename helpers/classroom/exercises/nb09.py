"""The checks of notebook 09's exercises; each oracle goes another way than the solution."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import torch

from helpers.classroom.exercises.grader import Mistake, one_number, register
from helpers.classroom.exercises.slips import thought

MEBI, GIBI = 2**20, 2**30


@register("x1-flops")
def flops(answer: Callable[[int, int, int, int], float]) -> None:
    """Each product of a row of T tokens is written down with its three sizes, three times: forward, and twice back."""
    for C, n_layers, V, T in [(8, 2, 11, 5), (2, 1, 3, 1), (64, 3, 101, 17), (768, 12, 50257, 1024)]:
        per_block = [(T, C, 3 * C), (T, C, T), (T, T, C), (T, C, C), (T, C, 4 * C), (T, 4 * C, C)]
        products = per_block * n_layers + [(T, C, V)]
        expected = Fraction(3 * sum(2 * math.prod(sizes) for sizes in products), T)
        case = f"C={C}, {n_layers} blocks, V={V}, T={T}"
        got = one_number(answer(C, n_layers, V, T), case)
        if not math.isclose(got, expected, rel_tol=1e-9):
            slips = {
                "That is the way forward: the way back costs twice as much again": expected / 3,
                "A multiplication and an addition are two FLOPs": expected / 2,
                "Per token: you have those of a row of T": expected * T,
                "And the head? Each token is scored against all V": expected - 6 * V * C,
                "Reading a row of the embedding is no product: the head's V times C count once": expected + 6 * V * C,
                "And attention itself? Each token is compared with T others, and mixes their values, in every block": (
                    expected - 12 * n_layers * T * C
                ),
                "Attention is computed in every block": expected - 12 * (n_layers - 1) * T * C,
                "Attention's products are passed on the way back, too": expected - 8 * n_layers * T * C,
            }
            general = "Count the blocks' matrices, the head and attention itself; then forward once and backward twice."
            raise Mistake(
                f"{case}: expected {int(expected):,} FLOPs per token, got {got:,.0f}. {thought(got, slips, general)}"
            )


@register("x2-memory")
def memory(answer: Callable[[int, int, int, int], float]) -> None:
    """The tensors are made, on a device that holds shapes only, and measured."""
    for n_params, B, T, V in [(1000, 2, 5, 7), (10, 0, 4, 9), (3, 1, 1, 1), (124_439_808, 4, 1024, 50257)]:
        weights = torch.empty(n_params, dtype=torch.float32, device="meta")
        scores = torch.empty((B, T, V), dtype=torch.float32, device="meta")
        whole = [weights, *(torch.empty_like(weights) for _ in ("gradient", "first moment", "second moment"))]
        whole += [scores, *(torch.empty_like(scores) for _ in ("their gradient", "gradient of the logits"))]
        expected = sum(tensor.nbytes for tensor in whole)
        case = f"{n_params:,} parameters, B={B}, T={T}, V={V}"
        got = one_number(answer(n_params, B, T, V), case)
        if not math.isclose(got, expected, rel_tol=1e-9):
            each = 4 * B * T * V
            logits = "How many (B, T, V) tensors stand there on the way back? Not only the logits"
            slips = {
                "Those are numbers, not bytes: in float32 each has 4": expected / 4,
                "Bytes, please": expected / GIBI,
                logits: expected - 2 * each,
                logits + ", and not two": expected - each,
                "AdamW keeps *two* moments beside the weight and its gradient": expected - 4 * n_params,
                "Beside the weights stand their gradients and AdamW's two moments": expected - 12 * n_params,
                "Every row of the batch has its scores: B times": 16 * n_params + 12 * T * V,
            }
            general = (
                "How many numbers of 4 bytes are kept per parameter, and how many times does a (B, T, V) tensor stand "
                "there on the way back?"
            )
            raise Mistake(f"{case}: expected {expected:,} bytes, got {got:,.0f}. {thought(got, slips, general)}")


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
        (124e6, 10e9, 0.4, 312e12, 1.5),
        (1.0, 600.0, 1.0, 1.0, 2.0),
        (1.5e9, 30e9, 0.25, 65e12, 0.0),
        (125e6, 2e8, 0.1, 65e12, 0.35),
    ]
    for n_params, n_tokens, share, peak, price in cases:
        tokens_an_hour = 3600 * share * peak / n_params / 6
        expected = price / tokens_an_hour * n_tokens
        case = f"{n_params:,.0f} parameters, {n_tokens:,.0f} tokens, {share:.0%} of {peak:.3g} FLOP/s, {price} an hour"
        got = one_number(answer(n_params, n_tokens, share, peak, price), case)
        if not math.isclose(got, expected, rel_tol=1e-6, abs_tol=1e-12):
            slips = {
                "6 FLOPs per parameter and token: forward 2, back 4": expected / 3,
                "The peak is per second and the price per hour: 3,600 seconds": expected * 3600,
                "An hour has 3,600 seconds": expected * 60,
                "Only a share of the peak is used": expected * share,
                "A smaller share makes it dearer: the speed is the share *times* the peak": expected * share**2,
                "The share is a number between 0 and 1 already": expected * 100,
                "Those are hours: what do they cost?": expected / price if price else math.nan,
            }
            general = (
                "How many FLOPs is a token in training, how many of the peak's FLOPs are used, and how many seconds "
                "has an hour?"
            )
            raise Mistake(f"{case}: expected {expected:,.4g}, got {got:,.4g}. {thought(got, slips, general)}")


@register("x4-ring")
def ring(answer: Callable[[float, int, float, float], float]) -> None:
    """A ring is played: each worker passes on one piece a round, until all have all sums."""
    cases = [(1000.0, 4, 10.0, 0.5), (1000.0, 2, 10.0, 0.0), (4.98e8, 8, 3e11, 1e-5), (1000.0, 1, 10.0, 1.0)]
    for n_bytes, n_workers, bytes_per_s, latency_s in cases:
        expected = _rounds(n_workers) * (latency_s + n_bytes / n_workers / bytes_per_s)
        case = f"{n_bytes:g} bytes, {n_workers} workers, {bytes_per_s:g} bytes/s, {latency_s:g} s a message"
        got = one_number(answer(n_bytes, n_workers, bytes_per_s, latency_s), case)
        if not math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-15):
            piece = n_bytes / n_workers / bytes_per_s
            rounds = _rounds(n_workers)
            slips = {
                "How many rounds? Sums are there after half of them, but each on one worker only": expected / 2,
                "How many rounds? With two workers, one to add and one to hand round": (
                    2 * n_workers * (latency_s + piece)
                ),
                "How large is what a worker passes on? A piece, not the whole gradient": (
                    rounds * (latency_s + n_bytes / bytes_per_s)
                ),
                "Every round is a message of its own, and waits for its latency": rounds * piece + latency_s,
                "And the latency of each round?": rounds * piece,
                "The gradient is cut into as many pieces as there are workers": (
                    rounds * latency_s + 2 * n_bytes / bytes_per_s
                ),
            }
            general = (
                "How many rounds has a ring until every worker has every sum, and how large is the piece that it "
                "passes on in each?"
            )
            raise Mistake(f"{case}: expected {expected:.6g} s, got {got:.6g}. {thought(got, slips, general)}")


def _line(always: int, per_row: int) -> Callable[[int], int]:
    return lambda rows: always + per_row * rows


def _expect_rows(got: object, expected: int, batch_size: int, peak: Callable[[int], int], room: int) -> None:
    always, each = peak(0), peak(1) - peak(0)
    case = f"a batch of {batch_size} rows; {always:,} bytes always, {each:,} more for each at once; room for {room:,}"
    if (rows := one_number(got, case)) != expected:
        raise Mistake(
            f"{case}: expected {expected} rows at once, got {got!r}. {_about_micro_batch(rows, expected, batch_size)}"
        )


def _about_micro_batch(rows: float, expected: int, batch_size: int) -> str:
    if not expected:
        return "Not even one row fits: 0"
    if rows and batch_size % rows:
        return f"Pieces of one size must make up the batch, and {rows:g} does not divide {batch_size}"
    if rows < expected:
        return (
            f"{expected} rows divide the batch and fit, the last byte may be used (<=). Do you try *every* divisor, "
            "the largest first? (Asked are the rows at once, not how many pieces they make)"
        )
    return "So many rows need more than there is room"


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

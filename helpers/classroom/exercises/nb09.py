"""The checks of notebook 09's exercises; each oracle goes another way than the solution."""

import math
from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction

import torch

from helpers.classroom.exercises.grader import Mistake, Returned, ask, register, typed

MEBI, GIBI = 2**20, 2**30
MANY = 2**60  # rows


@register("x1-flops")
def flops(answer: Callable[[int, int, int, int], float]) -> None:
    """Each matmul of T tokens is written down with its three sizes, three times: forward, and twice backward."""
    for C, n_layers, V, T in [(8, 2, 11, 5), (2, 1, 3, 1), (64, 3, 101, 17), (768, 12, 50257, 1024)]:
        per_block = [(T, C, 3 * C), (T, C, T), (T, T, C), (T, C, C), (T, C, 4 * C), (T, 4 * C, C)]
        matmuls = per_block * n_layers + [(T, C, V)]
        expected = Fraction(3 * sum(2 * math.prod(sizes) for sizes in matmuls), T)
        case = f"C={C}, {n_layers} blocks, V={V}, T={T}"
        slips = {
            "That is the forward pass: the backward pass costs twice as much again": expected / 3,
            "A multiplication and an addition are two FLOPs": expected / 2,
            "Per token: you have those of a sequence of T": expected * T,
            "And the head? Each token is scored against all V": expected - 6 * V * C,
            "Reading a row of the embedding is no matmul: the head's V times C count once": expected + 6 * V * C,
            "And attention itself? Each token is compared with T others, and sums their values, in every block": (
                expected - 12 * n_layers * T * C
            ),
            "Attention is computed in every block": expected - 12 * (n_layers - 1) * T * C,
            "Attention's matmuls have their part of the backward pass, too": expected - 8 * n_layers * T * C,
        }
        says = "Count the blocks' matrices, the head and attention itself; then forward once and backward twice."
        got = ask(answer, case, C, n_layers, V, T)
        got.number(int(expected), says, slips=slips, unit=" FLOPs per token", digits=",.0f")


@register("x2-memory")
def memory(answer: Callable[[int, int, int, int], float]) -> None:
    """The tensors are made, on a device that holds shapes only, and measured."""
    says = "How many numbers of 4 bytes are kept per parameter, and how many (B, T, V) tensors in the backward pass?"
    logits = "How many (B, T, V) tensors are held in the backward pass? Not only the logits"
    for n_params, B, T, V in [(1000, 2, 5, 7), (10, 0, 4, 9), (3, 1, 1, 1), (124_439_808, 4, 1024, 50257)]:
        weights = torch.empty(n_params, dtype=torch.float32, device="meta")
        scores = torch.empty((B, T, V), dtype=torch.float32, device="meta")
        whole = [weights, *(torch.empty_like(weights) for _ in ("gradient", "first moment", "second moment"))]
        whole += [scores, *(torch.empty_like(scores) for _ in ("their gradient", "gradient of the logits"))]
        expected = sum(tensor.nbytes for tensor in whole)
        case = f"{n_params:,} parameters, B={B}, T={T}, V={V}"
        each = 4 * B * T * V
        slips = {
            "Those are numbers, not bytes: in float32 each has 4": expected / 4,
            "Bytes, please": expected / GIBI,
            logits: expected - 2 * each,
            logits + ", and not two": expected - each,
            "AdamW keeps *two* moments beside the weight and its gradient": expected - 4 * n_params,
            "Beside the weights stand their gradients and AdamW's two moments": expected - 12 * n_params,
            "Every sequence of the batch has its scores: B times": 16 * n_params + 12 * T * V,
        }
        ask(answer, case, n_params, B, T, V).number(expected, says, slips=slips, unit=" bytes", digits=",.0f")


@register("x2-micro-batch")
def micro_batch(answer: Callable[[int, Callable[[int], int], int], int]) -> None:
    """The machine's size is set so that the answer is known: exactly what that many sequences take, or a byte less."""
    cases = [(12, 6, 100, 7), (16, 4, 3 * GIBI, 700 * MEBI), (12, 4, 2 * GIBI, 31 * MEBI), (10, 10, 5, 1)]
    for batch_size, expected, always, each in [*cases, (7, 1, 40, 11), (1, 1, 9, 2)]:
        larger = [n for n in range(expected + 1, batch_size + 1) if batch_size % n == 0]
        for room in (always + each * expected, *(always + each * n - 1 for n in larger[:1])):
            _expect_sequences(answer, batch_size, always, each, room, expected)
    _expect_sequences(answer, 8, 50, 10, 59, 0)


def _expect_sequences(answer: Callable, batch_size: int, always: int, each: int, room: int, expected: int) -> None:
    case = (
        f"a batch of {batch_size}; {always:,} bytes always, {each:,} more for each sequence at once; room for {room:,}"
    )
    answered = answer(batch_size, lambda n: always + each * n, room)
    got = Returned(answered, case).one_number()
    if got == expected:
        return
    if not expected:
        thought = "Not even one sequence fits: 0"
    elif got and batch_size % got:
        thought = f"Micro-batches of one size must make up the batch, and {got:g} does not divide {batch_size}"
    elif got < expected:
        thought = (
            f"{expected} divide the batch and fit, the last byte may be used (<=). Do you try *every* divisor, "
            "the largest first? (Asked are the sequences at once, not how many micro-batches they make)"
        )
    else:
        thought = "So many sequences need more than there is room"
    raise Mistake(f"{case}: expected {expected} sequences at once, got {typed(answered)}. {thought}")


@register("x3-bill")
def bill(answer: Callable[[float, float, float, float, float], float]) -> None:
    """The hour is asked what it can do: FLOPs in it, tokens in it, and how many such hours."""
    cases = [(124e6, 10e9, 0.4, 312e12, 1.5), (1.0, 600.0, 1.0, 1.0, 2.0), (1.5e9, 30e9, 0.25, 65e12, 0.0)]
    for n_params, n_tokens, mfu, peak, price in [*cases, (125e6, 2e8, 0.1, 65e12, 0.35)]:
        tokens_an_hour = 3600 * mfu * peak / n_params / 6
        expected = price / tokens_an_hour * n_tokens
        case = f"{n_params:,.0f} parameters, {n_tokens:,.0f} tokens, {mfu:.0%} of {peak:.3g} FLOP/s, {price} an hour"
        slips = {
            "6 FLOPs per parameter and token: forward 2, backward 4": expected / 3,
            "The peak is per second and the price per hour: 3,600 seconds": expected * 3600,
            "An hour has 3,600 seconds": expected * 60,
            "The peak is never reached: where is the MFU?": expected * mfu,
            "A smaller MFU makes it dearer: the speed is the MFU *times* the peak": expected * mfu**2,
            "The MFU is a number between 0 and 1 already": expected * 100,
            "Those are hours: what do they cost?": expected / price if price else math.nan,
        }
        says = "How many FLOPs is a token in training, how many of the peak's are used, how many seconds has an hour?"
        got = ask(answer, case, n_params, n_tokens, mfu, peak, price)
        got.number(expected, says, slips=slips, digits=",.4g", abs_tol=1e-12)


@register("x4-ring")
def ring(answer: Callable[[float, int, float, float], float]) -> None:
    """A ring is played: each rank passes on one piece a round, until all have all sums."""
    says = "How many rounds has a ring until every rank has every sum, and how large is the piece passed on in each?"
    cases = [(1000.0, 4, 10.0, 0.5), (1000.0, 2, 10.0, 0.0), (4.98e8, 8, 3e11, 1e-5), (1000.0, 1, 10.0, 1.0)]
    for n_bytes, world_size, bytes_per_s, latency_s in cases:
        rounds, whole = _rounds(world_size), n_bytes / bytes_per_s
        piece = whole / world_size
        expected = rounds * (latency_s + piece)
        case = f"{n_bytes:g} bytes, {world_size} ranks, {bytes_per_s:g} bytes/s, {latency_s:g} s a message"
        slips = {
            "How many rounds? Sums are there after half of them, but each on one rank only": expected / 2,
            "How many rounds? With two ranks, one to add and one to hand round": 2 * world_size * (latency_s + piece),
            "How large is what a rank passes on? A piece, not the whole gradient": rounds * (latency_s + whole),
            "Every round is a message of its own, and waits for its latency": rounds * piece + latency_s,
            "And the latency of each round?": rounds * piece,
            "The gradient is cut into as many pieces as there are ranks": rounds * latency_s + 2 * whole,
        }
        got = ask(answer, case, n_bytes, world_size, bytes_per_s, latency_s)
        got.number(expected, says, slips=slips, unit=" s", digits=".6g", abs_tol=1e-15)


def _rounds(world_size: int) -> int:
    """Rounds of a ring until each rank has each piece's sum: pieces are added on the way, then handed round."""
    summands = [[{rank} for _ in range(world_size)] for rank in range(world_size)]  # [rank][piece]
    everybody, rounds = set(range(world_size)), 0
    while any(held != everybody for pieces in summands for held in pieces):
        sent = [((r - rounds) % world_size, set(summands[r][(r - rounds) % world_size])) for r in range(world_size)]
        for rank, (piece, held) in enumerate(sent):
            summands[(rank + 1) % world_size][piece] |= held
        rounds += 1
    return rounds


@register("x1-roofline")
def rows_for_peak(answer: Callable[[int, int, int, float, float], int]) -> None:
    """The rows are tried: numbers of them are halved until the first is found that keeps the chip busy."""
    chips = [(2, 65e12, 320e9), (2, 312e12, 1555e9), (4, 8e12, 320e9)]
    cases = [(n, 4 * n, *chip) for n in (64, 768, 1600) for chip in chips] + [(1, 1, 1, 1.0, 4.0)]
    for n_in, n_out, n_bytes, peak, bandwidth in cases:

        def paid(rows: int, sizes: tuple = (n_in, n_out, n_bytes, peak, bandwidth)) -> bool:
            a, b, size, flops_per_s, bytes_per_s = sizes
            n_bytes_moved = size * (rows * a + a * b + rows * b)
            return Fraction(2 * rows * a * b) / Fraction(flops_per_s) >= Fraction(n_bytes_moved) / Fraction(bytes_per_s)

        high = bisect_left(range(MANY), True, key=paid) % MANY
        needed = n_bytes * peak / bandwidth
        slips = {
            "Which bytes grow with the rows? Input and output do": math.ceil(needed / 2),
            "Rows are whole: round up, so that the peak is reached": high - 1,
        }
        case = f"a matrix ({n_in}, {n_out}), {n_bytes} bytes a number, peak {peak:g}, bandwidth {bandwidth:g}"
        says = "When do FLOPs / bytes reach peak / bandwidth? At no number of rows (0) if a row brings too many bytes"
        got = ask(answer, case, n_in, n_out, n_bytes, peak, bandwidth)
        got.number(high, says, slips=slips, unit=" rows", digits="g")

"""The checks of notebook 02's exercises; each oracle goes another way than the solution."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, one_number, register
from helpers.classroom.exercises.locked import locked

MASKED = -100
SPACING = 2e-3  # float32 numbers near 10,000 lie 0.001 apart
LOCKED = (
    (F, ("cross_entropy", "nll_loss", "log_softmax")),
    (torch, ("log_softmax", "logsumexp", "logaddexp")),
    (torch.special, ("log_softmax", "logsumexp")),
    (Tensor, ("log_softmax", "logsumexp", "logaddexp")),
)


@register("l1-two-views")
def two_views(answer: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> None:
    """Every id is looked up by its place in the list; the memory that the answer reads is compared with the list's."""
    for B, T in ((2, 3), (3, 5), (1, 7)):
        token_ids = torch.arange(B * T + 1) * 11 + 7  # the id tells its place, and is none
        case = f"{B * T + 1} ids, {B} rows"
        inputs, targets = _two_tensors(answer(token_ids, B), case)
        for name, got, ahead in (("inputs", inputs, 0), ("targets", targets, 1)):
            if tuple(got.shape) != (B, T):
                thought = "Is B the number of rows?" if got.numel() == B * T else "How many ids should it have in all?"
                raise Mistake(f"{case}: {name} should have shape {(B, T)}, got {tuple(got.shape)}. {thought}")
            expected = [[int(token_ids[b * T + t + ahead]) for t in range(T)] for b in range(B)]
            if got.tolist() != expected:
                raise Mistake(
                    f"{case}: {name} should be {expected}, got {got.tolist()}. "
                    "Is the target of each input the very next id of the list, at the end of a row too?"
                )
            if got.untyped_storage().data_ptr() != token_ids.untyped_storage().data_ptr():
                raise Mistake(
                    f"{case}: {name} has the right ids in memory of its own; expected a view of token_ids. "
                    "Which of your calls makes a copy?"
                )


@register("l4-stable-loss")
def stable_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Recompute in decimal arithmetic with 40 digits, where exp(10,000) is a number like any other."""
    cases = {
        "small scores": ([[0.0, 2.0, 0.5], [-1.0, 0.0, 1.5]], [1, 0]),
        "a masked target": ([[0.0, 2.0, 0.5], [9.0, 0.0, 1.0], [-1.0, 0.0, 1.5]], [1, MASKED, 0]),
        "scores near 10,000": ([[10000.0, 9999.0, 9990.0], [10000.0, 0.0, -10000.0]], [1, 0]),
        "a target 500 below the favourite": ([[500.0, 0.0, 0.0]], [2]),
        "one row far below another": ([[1000.0, 999.0, 998.0], [-1000.0, -1001.0, -1000.0]], [1, 1]),
    }
    for name, (scores, targets) in cases.items():
        expected = _decimal_loss(scores, targets)
        with locked(LOCKED, "max, exp, sum and log"):
            got = one_number(answer(torch.tensor(scores), torch.tensor(targets)), name)
        if not math.isclose(got, expected, rel_tol=1e-4, abs_tol=SPACING):
            raise Mistake(
                f"{name}: logits {scores}, targets {targets}: expected {expected:.5f} nats, got {got}. "
                f"{_what_broke(got, name)}"
            )


@register("l5-text-perplexity")
def text_perplexity(answer: Callable[[list[Tensor]], float]) -> None:
    """Every token has probability 1 / 2**k, so that the perplexity is 2 to the mean of the k, a fraction."""
    cases = [[[1, 1, 1], [1, 1]], [[1, 1, 1, 1, 1, 1], [8]], [[3, 5, 2], [], [7]], [[2], [4, 4, 4], [9, 1]]]
    for powers in cases:
        flat = [k for batch in powers for k in batch]
        expected = 2 ** float(Fraction(sum(flat), len(flat)))
        got = one_number(
            answer([torch.tensor(batch, dtype=torch.float32) * math.log(2) for batch in powers]), str(powers)
        )
        if not math.isclose(got, expected, rel_tol=1e-4):
            raise Mistake(
                f"batches with p = 1 / 2**k per token, k = {powers}: expected perplexity {expected:.4f}, got {got}. "
                "Does a token count as much in a short batch as in a long one, and does the exponential come last?"
            )


@register("l5-bits-per-byte")
def text_bits_per_byte(answer: Callable[[float, int, str], float]) -> None:
    """Tokens that cost a known number of bits; bytes counted letter by letter from their code points."""
    cases = [("the house", 9, 8.0), ("the house", 2, 9.0), ("não há manhã", 5, 6.0), ("água 🛶", 3, 12.0)]
    for text, n_tokens, bits_per_token in cases:
        n_bytes = sum(1 + (c > "\x7f") + (c > "\u07ff") + (c > "\uffff") for c in text)
        expected = bits_per_token * n_tokens / n_bytes
        got = one_number(answer(bits_per_token * math.log(2), n_tokens, text), repr(text))
        if not math.isclose(got, expected, rel_tol=1e-6):
            raise Mistake(
                f"{text!r}: {n_tokens} tokens of {bits_per_token:.0f} bits each over {n_bytes} bytes are "
                f"{expected:.4f} bits per byte, got {got}. Nats or bits, letters or bytes, per token or in all?"
            )


@register("l6-overconfidence")
def overconfidence(answer: Callable[[Tensor, Tensor], float]) -> None:
    """Predictions built from a list of confidences and hits, so that the difference is known before any tensor is."""
    cases = {
        "says 90 %, is right half the time": [(90, True), (90, False)],
        "says 60 %, is always right": [(60, True), (60, True), (60, True)],
        "says 75 %, is right in three of four": [(75, True), (75, False), (75, True), (75, True)],
        "says more when it is wrong": [(40, True), (99, False), (50, True)],
    }
    for name, bets in cases.items():
        expected = float(Fraction(sum(c - 100 * hit for c, hit in bets), 100 * len(bets)))
        got = one_number(answer(*_predictions(bets)), name)
        if not math.isclose(got, expected, abs_tol=1e-5):
            raise Mistake(
                f"a predictor that {name}: expected {expected:+.4f}, got {got:+.4f}. "
                "What does it say about its favourite word, and how often did that word come?"
            )


def _two_tensors(got: object, case: str) -> tuple[Tensor, Tensor]:
    parts = list(got) if isinstance(got, tuple | list | Tensor) else [got]
    if len(parts) != 2 or not all(isinstance(part, Tensor) for part in parts):
        kinds = ", ".join(type(part).__name__ for part in parts[:3])
        raise Mistake(f"{case}: expected two tensors (inputs, targets), got {kinds}")
    return parts[0], parts[1]


def _what_broke(got: float, case: str) -> str:
    if case == "scores near 10,000" and not math.isfinite(got):
        return "exp(10,000) is more than float32 holds: what may you subtract from each row first?"
    if got == math.inf:
        return "Did p become 0 before you took its log? Take ln p from the scores, without p."
    if not math.isfinite(got):
        return "Did all exponentials of a row become 0? Of what is the number that you subtract the largest?"
    if got < 0:
        return "A loss is never below 0: which term or sign is missing?"
    return "What is the largest number that you exponentiate, and how many targets do you divide by?"


def _predictions(bets: list[tuple[int, bool]], vocab_size: int = 7) -> tuple[Tensor, Tensor]:
    """Probabilities (N, V) and targets (N,): a favourite with so many per cent, which came or did not."""
    probs, targets = [], []
    for i, (per_cent, hit) in enumerate(bets):
        favourite = (3 * i + 1) % vocab_size
        rest = (1 - per_cent / 100) / (vocab_size - 1)
        probs.append([per_cent / 100 if v == favourite else rest for v in range(vocab_size)])
        targets.append(favourite if hit else (favourite + 2) % vocab_size)
    return torch.tensor(probs), torch.tensor(targets)


def _decimal_loss(scores: list[list[float]], targets: list[int]) -> float:
    with localcontext() as context:
        context.prec = 40
        surprises = [
            sum(Decimal(z - row[target]).exp() for z in row).ln()
            for row, target in zip(scores, targets, strict=True)
            if target != MASKED
        ]
        return float(sum(surprises) / len(surprises))

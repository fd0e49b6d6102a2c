"""The checks of notebook 02's exercises; each oracle goes another way than the solution."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, Returned, ask, expect, locked, register, typed, utf8_length

SPACING = 2e-3  # float32 numbers near 10,000 lie 0.001 apart
LOCKED = (
    (F, ("cross_entropy", "log_softmax")),
    (torch, ("log_softmax", "logsumexp", "logaddexp")),
    (torch.special, ("log_softmax", "logsumexp")),
    (Tensor, ("log_softmax", "logsumexp", "logaddexp")),
)


@register("l1-two-views")
def two_views(answer: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> None:
    """Every id is looked up by its position in the list; the memory of the answer is compared with the list's."""
    for B, T in ((2, 3), (3, 5), (1, 7)):
        token_ids = torch.arange(B * T + 1) * 11 + 7  # the id tells its position, and is none
        case = f"{B * T + 1} ids, B = {B}"
        got = ask(answer, case, token_ids, B).value
        parts = list(got) if isinstance(got, tuple | list) or getattr(got, "ndim", 0) else [got]
        expect(len(parts) == 2, f"{case}: expected two tensors (inputs, targets), got {len(parts)} of them")
        for name, part, ahead in (("inputs", parts[0], 0), ("targets", parts[1], 1)):
            expect(hasattr(part, "shape"), f"{case}: {name}: expected a tensor {(B, T)}, got {typed(part)}")
            enough = math.prod(part.shape) == B * T
            thought = "Is B the number of sequences?" if enough else "How many ids should it have in all?"
            found = Returned(part, f"{case}: {name}").tensor((B, T), thought).long().tolist()
            expected = [[(b * T + t + ahead) * 11 + 7 for t in range(T)] for b in range(B)]
            if found != expected:
                raise Mistake(
                    f"{case}: {name} should be {expected}, got {found}. "
                    "Is the target of each input the very next id of the list, at the end of a sequence too?"
                )
            if not np.shares_memory(np.asarray(part), token_ids.numpy()):
                raise Mistake(
                    f"{case}: {name} has the right ids in memory of its own; expected a view of token_ids. "
                    "Which of your calls makes a copy?"
                )


@register("l4-stable-loss")
def stable_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """torch's cross entropy, in float64."""
    cases = {
        "small scores": ([[0.0, 2.0, 0.5], [-1.0, 0.0, 1.5]], [1, 0]),
        "a masked target": ([[0.0, 2.0, 0.5], [9.0, 0.0, 1.0], [-1.0, 0.0, 1.5]], [1, -100, 0]),
        "scores near 10,000": ([[10000.0, 9999.0, 9990.0], [10000.0, 0.0, -10000.0]], [1, 0]),
        "a target 500 below the top-1 token": ([[500.0, 0.0, 0.0]], [2]),
        "a target 10,000 below the top-1 token": ([[10000.0, 0.0, 0.0], [3.0, 10000.0, 1.0]], [2, 1]),
        "one row far below another": ([[1000.0, 999.0, 998.0], [-1000.0, -1001.0, -1000.0]], [1, 1]),
    }
    for name, (scores, targets) in cases.items():

        def says(got: float, name: str = name) -> str:
            if name == "scores near 10,000" and not math.isfinite(got):
                return "exp(10,000) is more than float32 holds: what may you subtract from each row first?"
            if got == math.inf:
                return "Did p become 0 before you took its log? Take ln p from the scores, without p."
            if not math.isfinite(got):
                return "Did all exponentials of a row become 0? Of what is the number that you subtract the largest?"
            if name.startswith("a target"):
                return "Is p clamped, or is a little added to it? No loss is higher then: take ln p from the scores"
            if got < 0:
                return "A loss is never below 0: which term or sign is missing?"
            return "What is the largest number that you exponentiate, and how many targets do you divide by?"

        case = f"{name}: logits {scores}, targets {targets}"
        with locked(LOCKED, "max, exp, sum and log"):
            got = ask(answer, case, torch.tensor(scores), torch.tensor(targets))
        expected = F.cross_entropy(torch.tensor(scores, dtype=torch.float64), torch.tensor(targets)).item()
        spacing = SPACING if any(abs(z) > 1000 for row in scores for z in row) else 1e-6
        got.number(expected, says, unit=" nats", digits=".5f", rel_tol=1e-4, abs_tol=spacing)


@register("l5-text-perplexity")
def text_perplexity(answer: Callable[[list[Tensor]], float]) -> None:
    """Every token has probability 1 / 2**k, so that the perplexity is 2 to the mean of the k, a fraction."""
    for powers in [[[1, 1, 1], [1, 1]], [[1, 1, 1, 1, 1, 1], [8]], [[3, 5, 2], [], [7]], [[2], [4, 4, 4], [9, 1]]]:
        flat = [k for batch in powers for k in batch]
        case = f"batches with p = 1 / 2**k per token, k = {powers}"
        got = ask(answer, case, [torch.tensor(batch, dtype=torch.float32) * math.log(2) for batch in powers])
        expected = 2 ** float(Fraction(sum(flat), len(flat)))
        thought = "Does a token count as much in a short batch as in a long one, and does the exponential come last?"
        got.number(expected, thought, unit=" as perplexity", rel_tol=1e-4)


@register("l5-bits-per-byte")
def text_bits_per_byte(answer: Callable[[float, int, str], float]) -> None:
    """Tokens that cost a known number of bits; bytes counted letter by letter from their code points."""
    cases = [("the house", 9, 8.0), ("the house", 2, 9.0), ("não há manhã", 5, 6.0), ("água 🛶", 3, 12.0)]
    for text, n_tokens, bits_per_token in cases:
        n_bytes = utf8_length(text)
        case = f"{text!r}: {n_tokens} tokens of {bits_per_token:.0f} bits each over {n_bytes} bytes"
        got = ask(answer, case, bits_per_token * math.log(2), n_tokens, text)
        thought = "Nats or bits, letters or bytes, per token or in all?"
        got.number(bits_per_token * n_tokens / n_bytes, thought, unit=" bits per byte")


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
        case = f"a predictor that {name}"
        thought = "What does it say about its top-1 token, and how often did that token come?"
        ask(answer, case, *_predictions(bets)).number(expected, thought, digits="+.4f", abs_tol=1e-5)


def _predictions(bets: list[tuple[int, bool]], vocab_size: int = 7) -> tuple[Tensor, Tensor]:
    """Probabilities (N, V) and targets (N,): a top-1 token with so many per cent, which came or did not."""
    probs, targets = [], []
    for i, (per_cent, hit) in enumerate(bets):
        top = (3 * i + 1) % vocab_size
        rest = (1 - per_cent / 100) / (vocab_size - 1)
        probs.append([per_cent / 100 if v == top else rest for v in range(vocab_size)])
        targets.append(top if hit else (top + 2) % vocab_size)
    return torch.tensor(probs), torch.tensor(targets)


@register("l6-best-temperature")
def best_temperature(answer: Callable[[Tensor, Tensor], float]) -> None:
    """The slope of the mean loss by 1 / tau is mean(sum of p z - z of the target): bisect for its zero."""
    generator = torch.Generator().manual_seed(11)
    for name, stretched, share_right in [
        ("an overconfident model", 4.0, 0.5),
        ("an underconfident model", 0.5, 0.7),
        ("a very overconfident model", 7.0, 0.4),
        ("a nearly calibrated model", 2.0, 0.6),
    ]:
        logits = stretched * torch.randn(40, 5, generator=generator)
        top = logits.argmax(-1)
        comes = torch.rand(40, generator=generator) < share_right
        targets = torch.where(comes, top, (top + 2) % 5)
        expected = _temperature_by_slope(logits.double(), targets)
        case = f"{name}: logits (40, 5) between {logits.min():.1f} and {logits.max():.1f}"
        got = ask(answer, case, logits.clone(), targets.clone())
        slips = {"Do you divide the scores by it, or multiply them with it?": 1 / expected}
        says = "Is the mean loss lower a little to the left, or to the right? Does your search reach so far?"
        got.number(expected, says, slips=slips, unit=" as temperature", rel_tol=0.01)


def _temperature_by_slope(logits: Tensor, targets: Tensor) -> float:
    of_targets = logits.gather(1, targets[:, None]).mean()
    low, high = 1 / 100, 100.0  # of beta = 1 / tau; the slope rises with beta
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        slope = ((middle * logits).softmax(1) * logits).sum(1).mean() - of_targets
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 1 / low

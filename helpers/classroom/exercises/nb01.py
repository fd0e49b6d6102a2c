"""The checks of notebook 01: the time a run takes, the greedy loop, scores into probabilities, entropy, options."""

import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, apart, ask, expect, locked, register

RELATIVE = 1e-4  # float32 against a float64 oracle
LARGE = 88.0  # exp of a larger score is more than float32 holds
LOCKED = tuple((owner, ("softmax", "log_softmax")) for owner in (F, torch, torch.special, Tensor))


@register("e1-months")
def months(answer: Callable[[float, int, int, float], float]) -> None:
    """Count whole steps, then the steps that fit into a month, in exact fractions."""
    for n_tokens, batch_size, T, step_ms in [(300e9, 8, 1024, 500.0), (1e9, 4, 256, 40.0), (7e6, 3, 128, 1250.0)]:
        steps_per_month = Fraction(30 * 24 * 60 * 60 * 1000) / Fraction(step_ms)
        expected = float(Fraction(n_tokens) / (batch_size * T) / steps_per_month)
        case = f"{n_tokens:,.0f} tokens, {batch_size} sequences of {T} tokens a step, {step_ms:g} ms a step"

        def says(got: float, expected: float = expected) -> str:
            if not math.isfinite(got) or got <= 0:
                return "A time is a number above 0: tokens divided by tokens per second"
            units = {1000: "milliseconds taken for seconds", 30: "days", 720: "hours", 30 * 86400: "seconds"}
            for factor, name in (units | {1 / 12: "years"}).items():
                if math.isclose(got / expected, factor, rel_tol=0.02):
                    return f"That is {factor:,.3g} times as much: {name}?"
            return "How many tokens does one step read, and how many steps fit into a second?"

        got = ask(answer, case, n_tokens, batch_size, T, step_ms)
        got.number(expected, says, unit=" months of 30 days", digits=".6g", rel_tol=RELATIVE)


@register("e2-greedy")
def greedy(answer: Callable[[Callable[[Tensor], Tensor], Tensor, int], Tensor]) -> None:
    """A model that can be run in the head: the top-1 token after a window is the sum of its ids, modulo V."""
    V, context_length = 11, 5
    model = _SummingModel(torch.eye(V), context_length)
    cases = [([[1, 2]], 1), ([[1, 2]], 3), ([[3, 1, 4], [1, 5, 9]], 2), ([[7]], 0), ([[2, 7, 1, 8]], 13)]
    for prompts, n_new in cases:
        token_ids, case = torch.tensor(prompts), f"from {prompts}, {n_new} new tokens"
        outgrown = len(prompts[0]) + n_new - 1 > context_length
        thought = "The prompt and the new ids: one id per sequence is appended each time round"
        if outgrown:
            thought = "The model sees a window of the text; the text you return keeps every token"
        got = ask(answer, case, model, token_ids, n_new).tensor((len(prompts), len(prompts[0]) + n_new), thought).long()
        expected = [_continued(prompt, n_new, V, context_length) for prompt in prompts]
        if got.tolist() != expected:
            thought = "Which row of the logits speaks about what follows?"
            if outgrown:
                thought = "Which tokens may the model see: are they the last `context_length`?"
            raise Mistake(f"{case}: expected {expected}, got {got.tolist()}. {thought}")
        kept = token_ids.tolist() == prompts
        expect(kept, f"{case}: the prompt that you were given has changed. Make a new tensor: torch.cat")


@register("e3-probabilities")
def probabilities(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """torch's softmax, in float64."""
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randn(3, generator=generator).tolist(), torch.randn(7, 3, generator=generator).tolist()
    cases = [
        ("the plane of section 3", [2.0, 1], [[1.0, 1], [0.8, 0.4], [0, 1], [0.5, -1], [-1, 1]]),
        ("C = 3, V = 7, drawn at random", *drawn),
        ("scores around 1,000", [1.0, 0], [[1000.0, 1], [1001, 2], [999, -1]]),
        ("scores around -1,000", [1.0, 0], [[-1000.0, 1], [-1001, 2], [-999, -1]]),
        ("scores 300, 0 and -300", [1.0, 0], [[300.0, 1], [0, 2], [-300, -1]]),
    ]
    for name, hidden, unembedding in cases:
        scores = torch.tensor(unembedding, dtype=torch.float64) @ torch.tensor(hidden, dtype=torch.float64)
        expected = scores.softmax(0)
        with locked(LOCKED, "exp and sum"):
            got = ask(answer, name, torch.tensor(hidden), torch.tensor(unembedding))
        got = got.tensor((len(scores),), "It is one probability per token")
        if not got.isfinite().all():
            raise Mistake(
                f"{name}: got {[round(p, 4) for p in got.tolist()]}. float32 ends near exp(88), and 0 / 0 is NaN. "
                "What may you subtract from every score, so that none is above 0 and the result stays the same?"
            )
        found = f"they should sum to 1, got {float(got.sum()):.4f}"
        expect(abs(float(got.sum()) - 1) <= RELATIVE, f"{name}: {found}. Over which tokens does the sum run?")
        if not torch.allclose(got, expected, rtol=RELATIVE, atol=1e-6):
            thought = "A score is the dot product of the hidden state with a token's row, its length included"
            if scores.abs().max() > LARGE:
                thought = "Softmax looks at differences of scores: do all of them survive what you do to large scores?"
            wanted, came = apart(expected.tolist(), got.tolist(), ".4g")
            raise Mistake(f"{name}: expected {wanted}, got {came}. {thought}")


@register("e4-entropy")
def entropy_nats(answer: Callable[[Tensor], float]) -> None:
    """torch's own entropy, in float64."""

    def says(got: float) -> str:
        nothing, formula = "What is 0 · ln 0 for someone who never doubts?", "It is -p ln p, summed over the tokens"
        return nothing if math.isnan(got) else formula

    cases = [[0.5, 0.5], [0.25] * 4, [0.5, 0.25, 0.125, 0.125], [0.7, 0.2, 0.1], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]
    for probs in cases:
        expected, case = float(torch.special.entr(torch.tensor(probs, dtype=torch.float64)).sum()), f"p = {probs}"
        slips = {"Those are bits: which logarithm has the nat?": expected / math.log(2)}
        got = ask(answer, case, torch.tensor(probs))
        got.number(expected, says, slips=slips, unit=" nats", abs_tol=1e-5)


class _SummingModel:
    """Scores of what follows, from the row of a table (V, V) that the ids so far sum up to, modulo V.

    (B, T) -> (B, T, V)
    """

    def __init__(self, table: Tensor, context_length: int) -> None:
        self.table, self.config = table, SimpleNamespace(vocab_size=len(table), context_length=context_length)

    def __call__(self, token_ids: Tensor) -> Tensor:
        if token_ids.ndim != 2:
            raise ValueError(f"token_ids must be (B, T), got {tuple(token_ids.shape)}: ids[None] is a batch of one")
        if token_ids.shape[1] > self.config.context_length:
            raise Mistake(
                f"the model was given {token_ids.shape[1]} tokens, and its context holds {self.config.context_length}. "
                "Which tokens may it see once the text has outgrown the context?"
            )
        return self.table[token_ids.cumsum(1) % len(self.table)]


def _continued(prompt: list[int], n_new: int, vocab_size: int, context_length: int) -> list[int]:
    """In plain Python: the prompt and what greedy decoding adds, where the top-1 token of row i is i."""
    text = list(prompt)
    for _ in range(n_new):
        text.append(sum(text[-context_length:]) % vocab_size)
    return text


def _logs(table: list[list[int]], question: list[int], option: list[int]) -> list[float]:
    """ln p of each token of the option, given the question and the option's tokens before it."""
    read, logs = list(question), []
    for token in option:
        row = table[sum(read) % len(table)]
        logs.append(math.log(row[token] / sum(row)))
        read.append(token)
    return logs


@register("e5-best-option")
def best_option(answer: Callable[[Callable[[Tensor], Tensor], Tensor, list[Tensor]], int]) -> None:
    """A model whose probabilities stand in a table of whole numbers; options are scored token by token, in floats."""
    table = [[1 + (3 * i * i + 5 * i * j + j * j) % 23 for j in range(7)] for i in range(7)]
    scores = torch.tensor(table, dtype=torch.float32).log()  # not normalised, as logits are
    model = _SummingModel(scores, context_length=12)
    generator = torch.Generator().manual_seed(3)
    for lengths in [(1, 1, 1), (2, 2), (1, 3, 2), (4, 1, 2, 3), (2, 5, 1), (3, 1), (1, 6, 2, 4), (2, 3, 2, 3)] * 3:
        question = torch.randint(7, (int(torch.randint(1, 6, (), generator=generator)),), generator=generator)
        options = [torch.randint(7, (n,), generator=generator) for n in lengths]
        logs = [_logs(table, question.tolist(), option.tolist()) for option in options]
        means = [sum(each) / len(each) for each in logs]
        expected = means.index(max(means))
        case = f"after {question.tolist()}, options {[option.tolist() for option in options]}"
        got = ask(answer, case, model, question.clone(), [option.clone() for option in options]).one_number()
        if got != expected:
            sums = [sum(each) for each in logs]
            thought = "Which logits speak about the first token of an option? Is the question scored too?"
            if got == sums.index(max(sums)):
                thought = "An option with more tokens has more terms, and each is below 0: what do you divide by?"
            raise Mistake(f"{case}: expected option {expected}, got {got:g}. {thought}")

"""The checks of notebook 05: temperature, exactly k, the fewest that reach p, the loop, a cached step, a guess kept."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.classroom.exercises.grader import Mistake, Returned, apart, ask, expect, plain, refused, register, typed

CLOSE = 1e-5
Write = Callable[[Callable[[list[int]], int], list[int], int, int, int], list[int]]


@register("g1-temperature")
def at_temperature(answer: Callable[[list[float], float], list[float]]) -> None:
    """torch's softmax, in float64; the limits by hand."""
    others = [([2.0, -1.0, 0.5, 2.0, -3.0], T) for T in (1.0, 0.5, 2.0, 7.0)] + [([1000.0, 999.0, -1000.0], 1.0)]
    cases = [(s, T, (torch.tensor(s, dtype=torch.float64) / T).softmax(0).tolist()) for s, T in others]
    cases.append(([1.0, -2.0, 0.5], 1e-4, [1.0, 0.0, 0.0]))
    cases.append(([-1.0, 2.0, 2.0], 0.0, [0.0, 1.0, 0.0]))
    cases.append(([-1.0, 2.0, 0.0, 5.0], math.inf, [0.25] * 4))
    for scores, temperature, expected in cases:
        case = f"scores {scores}, temperature {temperature}"
        got = ask(answer, case, list(scores), temperature)
        items = got.items(len(expected), "probabilities", "It is a list, one for each score")
        got = Returned(items, case).tensor((len(expected),), "It is a list of numbers").tolist()
        if not all(abs(a - b) < CLOSE for a, b in zip(got, expected, strict=True)):  # NaN is not close either
            thought = "What is divided, and before which step? At 0 the first of the best has it all, at inf all have "
            wanted, came = apart(expected, got, ".4f")
            raise Mistake(f"{case}: expected {wanted}, got {came}. {thought}the same")
    for temperature, harm in ((-1.0, "turn the order around"), (math.nan, "make every probability NaN")):
        refused(answer, f"temperature {temperature}", f"It would {harm}", [1.0, 2.0], temperature)


@register("g2-top-k")
def exactly_k(answer: Callable[[list[float], int], list[bool]]) -> None:
    """A token stays if fewer than k tokens stand before it: higher ones, and equal ones with a lower id."""
    cases = [([0.5, 3.0, -1.0, 2.0], 2), ([1.0] * 5, 3), ([0.0, 2.0, 5.0, 2.0, 2.0], 2), ([-4.0, -2.0, -3.0], 1)]
    for scores, k in [*cases, ([0.0, 1.0], 2)]:
        expected = []
        for i, score in enumerate(scores):
            before = sum(other > score or (other == score and j < i) for j, other in enumerate(scores))
            expected.append(before < k)
        thought = "Exactly k stay, also where scores are equal: the lower id comes first"
        _compare_kept(answer, f"scores {scores}, k = {k}", (scores, k), expected, thought)


@register("g2-top-p")
def fewest_that_reach(answer: Callable[[list[float], float], list[bool]]) -> None:
    """Every group of tokens is tried: the smallest whose probabilities reach p, and of those the most probable one."""
    cases = [([0.5, 0.25, 0.125, 0.125], 0.7), ([0.125, 0.5, 0.125, 0.25], 0.8), ([0.125, 0.5, 0.125, 0.25], 0.75)]
    for probs, p in [*cases, ([0.0625, 0.875, 0.0625], 0.5), ([0.25] * 4, 0.5), ([0.25, 0.5, 0.25], 1.0)]:
        thought = "From the top-1 token down: does the one with which the sum reaches p still belong, and the next one?"
        _compare_kept(answer, f"probabilities {probs}, p = {p}", (probs, p), _smallest_group(probs, p), thought)


def _smallest_group(probs: Sequence[float], p: float) -> list[bool]:
    for size in range(1, len(probs) + 1):
        groups = list(combinations(range(len(probs)), size))  # the first one has the lowest ids
        best = max(groups, key=lambda group: sum(probs[i] for i in group))
        if sum(probs[i] for i in best) >= p:
            return [i in best for i in range(len(probs))]
    raise AssertionError("the cases' probabilities sum to 1")


def _compare_kept(
    answer: Callable, case: str, asked: tuple[list[float], float], expected: list[bool], thought: str
) -> None:
    got = ask(answer, case, list(asked[0]), asked[1]).value
    right = plain(got) == expected  # 1 and 0 will do for True and False
    expect(right, f"{case}: expected {expected} in the order of the ids, got {typed(got)}. {thought}")


@register("g4-loop")
def loop(answer: Write) -> None:
    """The next id is always the sum of the ids that the model is given, modulo 10, so that the text is known."""
    cases = [([1, 2], 5, 100, 99), ([1, 2, 3], 8, 2, 99), ([7, 4], 8, 2, 6), ([3, 5], 6, 4, 3), ([5, 3], 6, 4, 3)]
    for prompt, n_new, context_length, end_id in [*cases, ([5], 4, 3, 0), ([4, 4], 0, 3, 9)]:
        given, calls = list(prompt), []

        def choose(ids: list[int], calls: list = calls) -> int:
            calls.append(plain(ids))
            return sum(calls[-1]) % 10

        expected, windows = _walk(prompt, n_new, context_length, end_id)
        case = f"prompt {prompt}, {n_new} new tokens, context {context_length}, end {end_id}"
        got = ask(answer, case, choose, given, n_new, context_length, end_id).value
        expect(given == prompt, f"{case}: your function changed the caller's prompt to {given}. Work on a copy")
        if any(len(ids) > context_length for ids in calls):
            raise Mistake(f"{case}: the model got {max(map(len, calls))} tokens, its context holds {context_length}")
        if thought := _what_is_wrong(plain(got), expected, calls, windows, prompt, end_id):
            raise Mistake(f"{case}: expected {expected}, got {typed(got)}. {thought}")


def _what_is_wrong(
    got: Any, expected: list[int], calls: list, windows: list, prompt: list[int], end_id: int
) -> str | None:
    """The thought that leads on, or None. What the model saw comes first: from there on the texts differ anyhow."""
    if not isinstance(got, list):
        return "Return the ids as a list"
    if got[: len(prompt)] != prompt:
        return "The prompt belongs to the text: it stands before what is new"
    new, returned = got[len(prompt) :], [sum(ids) % 10 for ids in calls]
    if len(new) == len(returned) and new != returned:
        return "Each new id is what `choose` returned"
    for saw, window in zip(calls, windows, strict=False):
        if saw != window:
            return f"The model must see the *last* context_length ids of the text so far, {window}; it was given {saw}"
    if end_id in expected and got != expected:
        return (
            "The end token belongs to the text and is its last one; it ends the text as soon as it is generated, and "
            "an end token in the prompt ends nothing"
        )
    if len(got) != len(expected):
        return "n_new counts the new ids only, and none of them is left out"
    if len(calls) != len(windows):
        return f"Right, but {len(windows)} calls of the model are enough, and you made {len(calls)}"
    return None


def _walk(prompt: list[int], n_new: int, context_length: int, end_id: int) -> tuple[list[int], list[list[int]]]:
    """The text, and what the model is given for each of its new ids."""
    text, windows = tuple(prompt), []
    for _ in range(n_new):
        windows.append(list(text[max(0, len(text) - context_length) :]))
        text += (sum(windows[-1]) % 10,)
        if text[-1] == end_id:
            break
    return list(text), windows


@register("g4-cached-step")
def cached_step(answer: Callable[[dict[str, list[Tensor]], Tensor, Tensor, Tensor], Tensor]) -> None:
    """torch's attention over the whole text with a causal mask, all tokens at once."""
    generator = torch.Generator().manual_seed(5)
    for D, T in ((3, 7), (5, 4), (2, 1)):
        queries, keys, values = (torch.randn(T, D, generator=generator) for _ in range(3))
        expected = F.scaled_dot_product_attention(queries[None], keys[None], values[None], is_causal=True)[0]
        cache: dict[str, list[Tensor]] = {"keys": [], "values": []}
        for t in range(T):
            case = f"D = {D}, token {t + 1} of {T}"
            got = ask(answer, case, cache, queries[t].clone(), keys[t].clone(), values[t].clone())
            got = got.tensor((D,), "It is a mean of values, of which each has D numbers")
            held = len(cache["keys"]), len(cache["values"])
            found = f"it holds {held[0]} and {held[1]}"
            expect(held == (t + 1, t + 1), f"{case}: the cache should then hold {t + 1} keys and values, {found}")
            if not torch.allclose(got, expected[t].double(), atol=1e-5):
                wanted, came = apart(expected[t].tolist(), got.tolist(), ".4f")
                raise Mistake(
                    f"{case}: expected {wanted}, got {came}. A token sees itself and all before it, and scores are "
                    "divided by the root of the head size"
                )


@register("g4-keep-or-reject")
def keep_or_reject(answer: Callable[[list[float], list[float], int], tuple[float, list[float]]]) -> None:
    """Add up where the token that comes out can come from: it must be p, and no guess is rejected without need."""
    cases = [([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]), ([0.125, 0.875], [0.875, 0.125]), ([0.25, 0.75], [0.25, 0.75])]
    for p, q in [*cases, ([0.0, 0.5, 0.5], [0.5, 0.25, 0.25]), ([0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25])]:
        comes_out, kept = [0.0] * len(p), 0.0
        for guess, drawn in enumerate(q):
            keep, instead = _kept_and_instead(answer, p, q, guess)
            kept += drawn * keep
            comes_out[guess] += drawn * keep
            for token, share in enumerate(instead):
                comes_out[token] += drawn * (1 - keep) * share
        case = f"p = {p}, q = {q}"
        if not all(abs(a - b) < CLOSE for a, b in zip(comes_out, p, strict=True)):
            wanted, came = apart(p, comes_out, ".4f")
            thought = "What is missing to p after the kept guesses, and who gets it?"
            raise Mistake(f"{case}: the token that comes out should have p, {wanted}, got {came}. {thought}")
        possible = sum(map(min, p, q))
        if not abs(kept - possible) < CLOSE:
            wanted, came = apart(possible, kept, ".4f")
            raise Mistake(
                f"{case}: p comes out, but a guess should be kept with probability {wanted}, got {came}. A guess with "
                "q below p need never be rejected"
            )


def _kept_and_instead(answer: Callable, p: list[float], q: list[float], guess: int) -> tuple[float, list[float]]:
    case = f"p = {p}, q = {q}, guess {guess}"
    got = ask(answer, case, list(p), list(q), guess)
    pair = f"things (probability of keeping, list of {len(p)} probabilities)"
    got.items(2, pair)
    keep = Returned(got.value[0], f"{case}, keep").one_number()
    instead = Returned(got.value[1], f"{case}, instead").tensor((len(p),), "Each token needs its probability").tolist()
    if not -CLOSE <= keep <= 1 + CLOSE:
        _, came = apart(min(max(keep, 0), 1), keep, ".4f")
        raise Mistake(f"{case}: expected a probability of keeping in [0, 1], got {came}. Where q is below p?")
    shares = min(instead) >= -CLOSE and abs(sum(instead) - 1) < CLOSE
    expect(shares, f"{case}: expected {len(p)} probabilities that sum to 1 as replacement, got {instead}")
    return keep, instead

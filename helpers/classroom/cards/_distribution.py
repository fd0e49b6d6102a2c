"""A next-token distribution over a whole vocabulary in few numbers, and what temperature and filters make of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

N_EXACT = 100  # logits that stay themselves
N_CLOSE = 1500  # so many are single tokens: among fewer, one kept too many by min-p would show
STEP = 1e-5  # nats; the logits from N_EXACT to N_CLOSE are whole numbers of these below the one before
N_GROUPS = 160  # of the others, and a few more at the lowest ones
LOWEST = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MIN_VOCAB, MAX_VOCAB = 2, 200_000
MAX_SHOWN = 40
NAME_LENGTH = 14  # characters of a token's name that are shown
Names = Sequence[str] | Callable[[int], str] | object


@dataclass(frozen=True)
class Group:
    """n tokens whose logits lie evenly within mean ± half, relative to the favourite's; a single one has half = 0."""

    n: int
    mean: float
    half: float = 0.0

    def top(self, j: int) -> Group:
        """The j highest of them."""
        share = j / self.n
        return Group(j, self.mean + self.half * (1 - share), self.half * share)

    def mass(self, inverse: float) -> float:
        """Sum of exp(logit / T), given 1 / T."""
        x = inverse * self.half
        spread = math.exp(x) * -math.expm1(-2 * x) / (2 * x) if x > 1e-6 else 1.0
        return self.n * math.exp(inverse * self.mean) * spread

    def tilted_mean(self, inverse: float) -> float:
        """Mean logit with weights exp(logit / T)."""
        x = inverse * self.half
        return self.mean + self.half * (1 / math.tanh(x) - 1 / x if x > 1e-3 else x / 3)

    def count_above(self, level: float) -> int:
        """How many logits are at least `level`."""
        if self.half == 0:
            return self.n if self.mean >= level else 0
        share = (self.mean + self.half - level) / (2 * self.half)
        return min(max(math.floor(self.n * share + 0.5), 0), self.n)

    def count_to_reach(self, mass: float, inverse: float) -> int:
        """The fewest highest ones with at least this sum of exp(logit / T), or all of them; at least one."""
        x = 2 * inverse * self.half
        each = math.exp(inverse * (self.mean + self.half))
        reached = mass / (self.n * each) if each else 1.0
        share = reached
        if x > 1e-6:
            share = -math.log1p(-reached * x) / x if reached * x < 1 else 1.0
        return min(max(math.ceil(self.n * share - 1e-9), 1), self.n)


@dataclass(frozen=True)
class Settings:
    """As in `gpt.SamplingParams`: T in [0, inf], top_k, top_p and min_p or None, and which comes first."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    filters_first: bool = True

    @property
    def filters(self) -> bool:
        return any(x is not None for x in (self.top_k, self.top_p, self.min_p))

    @property
    def inverse(self) -> float:
        return 1 / self.temperature if self.temperature else math.inf


@dataclass(frozen=True)
class Outcome:
    """What the filters left, from the favourite down, and what it makes.

    groups      what is kept; the first ones are single tokens
    probs       the probability of each group
    exact       False where a cut goes through a group, so that the number of kept tokens is approximate
    model_mass  probability that the kept ones had at temperature 1 without a filter
    entropy     nats
    """

    groups: list[Group]
    probs: list[float]
    exact: bool
    model_mass: float
    entropy: float

    @property
    def n_kept(self) -> int:
        return sum(group.n for group in self.groups)


def sampling_config(
    logits: Sequence[float] | Tensor, tokens: Names | None = None, *, n_shown: int = 12, prompt: str = ""
) -> dict:
    """What the sampling card needs about one distribution, as plain JSON of 10 kB at most, whatever V is.

    logits   V scores, V in [2, 200,000], in any order; -inf forbids a token
    tokens   V names; or a function id -> name; or a tokenizer, whose `decode([id])` is shown in quotes; None: the ids
    n_shown  rows of the card, 1 to 40: the likeliest tokens, the others together in one row more
    prompt   the text before, for the card's sentence; may be empty

    return   V; logits: the highest, exactly; steps: from there down, in units of STEP; groups: the other logits as
             [n, mean, half], which `Group` explains; names: of the rows shown; prompt; error: a message to the reader,
             None here

    ValueError: not one row of V numbers, NaN or +inf among them, no finite one, or another number of names or of rows.
    """
    if not isinstance(n_shown, int) or not 1 <= n_shown <= MAX_SHOWN:
        raise ValueError(f"n_shown must be a whole number in [1, {MAX_SHOWN}], got {n_shown!r}")
    scores = _checked(logits)
    V = len(scores)
    ranked = torch.from_numpy(np.sort(scores.numpy())[::-1].copy())  # several times as fast as torch's sort
    best = (scores >= ranked[min(n_shown, V) - 1]).nonzero().squeeze(-1)
    best = best[scores[best].argsort(descending=True, stable=True)]  # equals by lower id
    ranked = ranked[ranked > -math.inf]
    return {
        "V": V,
        "logits": [float(f"{x:.9g}") for x in ranked[:N_EXACT].tolist()],  # 9 digits give a float32 back as it was
        "steps": _steps(ranked - ranked[0]),
        "groups": _grouped(ranked - ranked[0]),
        "names": [_name(tokens, i, V) for i in best[:n_shown].tolist()],
        "prompt": prompt,
        "error": None,
    }


def groups_of(config: dict) -> list[Group]:
    """The distribution from the favourite down, logits relative to the favourite's."""
    single = [x - config["logits"][0] for x in config["logits"]]
    last = round(single[-1] / STEP)
    single += [below * STEP for below in accumulate(config["steps"], initial=last)][1:]
    return [Group(1, x) for x in single] + [Group(*group) for group in config["groups"]]


def keep(groups: list[Group], settings: Settings) -> tuple[list[Group], bool]:
    """What top-k, then top-p, then min-p leave of `groups`, and whether the number of tokens left is exact.

    Each filter measures among what the one before left: at temperature 1, or at the given one where that comes first.
    """
    inverse = 1.0 if settings.filters_first else settings.inverse
    if settings.filters and math.isinf(inverse):
        return groups[:1], True  # at temperature 0 only the favourite has any probability to be measured
    exact = True
    if settings.top_k is not None:
        groups, _ = _cut(groups, settings.top_k, [g.n for g in groups], lambda g, left: left)
    if settings.top_p is not None:
        masses = [g.mass(inverse) for g in groups]
        goal = settings.top_p * sum(masses)
        groups, exact = _cut(groups, goal, masses, lambda g, left: g.count_to_reach(left, inverse))
    if settings.min_p is not None and inverse:
        level = math.log(settings.min_p) / inverse
        i = next((i for i, g in enumerate(groups) if g.count_above(level) < g.n), len(groups))
        if i < len(groups):
            j = groups[i].count_above(level)
            exact = all(g.half == 0 for g in groups[max(i - 1, 0) : i + 1])  # whatever top-p cut lies beyond
            groups = groups[:i] + ([groups[i].top(j)] if j else [])
    return groups, exact


def outcome(groups: list[Group], settings: Settings) -> Outcome:
    """The distribution that the next token is drawn from; `groups` as of `groups_of`."""
    kept, exact = keep(groups, settings)
    model_mass = sum(g.mass(1.0) for g in kept) / sum(g.mass(1.0) for g in groups)
    inverse = settings.inverse
    if math.isinf(inverse):
        return Outcome(kept, [1.0] + [0.0] * (len(kept) - 1), exact, model_mass, 0.0)
    masses = [g.mass(inverse) for g in kept]
    total = sum(masses)
    probs = [mass / total for mass in masses]
    mean = sum(p * g.tilted_mean(inverse) for p, g in zip(probs, kept, strict=True))
    return Outcome(kept, probs, exact, model_mass, max(math.log(total) - inverse * mean, 0.0))


def draw_counts(probs: list[float], n: int, seed: int) -> list[int]:
    """How often each of `probs` comes in n draws; what they leave of 1 comes last. The page draws the very same.

    Source: the generator is mulberry32 (T. Ettinger, 2017, public domain), 32 bits of state in 32-bit arithmetic.
    """
    counts, state, low = [0] * (len(probs) + 1), seed, 0xFFFFFFFF
    for _ in range(n):
        state = (state + 0x6D2B79F5) & low
        t = ((state ^ state >> 15) * (state | 1)) & low
        t ^= (t + (t ^ t >> 7) * (t | 61)) & low
        u, i = (t ^ t >> 14) / 2**32, 0
        while i < len(probs) and u >= probs[i]:
            u -= probs[i]
            i += 1
        counts[i] += 1
    return counts


def _cut(
    groups: list[Group], goal: float, sizes: list[float], count: Callable[[Group, float], int]
) -> tuple[list[Group], bool]:
    """The first groups until their sizes reach the goal, the last one cut to `count(group, what is left to reach)`."""
    left = goal
    for i, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        if size >= left:
            return [*groups[:i], group.top(int(count(group, left)))], group.half == 0
        left -= size
    return groups, True


def _checked(logits: Sequence[float] | Tensor) -> Tensor:
    scores = torch.as_tensor(logits).detach().to("cpu", torch.float64)
    if scores.ndim != 1 or not MIN_VOCAB <= len(scores) <= MAX_VOCAB:
        raise ValueError(
            f"expected one row of V logits, V in [{MIN_VOCAB}, {MAX_VOCAB:,}], got shape {tuple(scores.shape)}: "
            "logits[0, -1] is the last position of the first text"
        )
    highest = scores.max().item()  # NaN if one is
    if not math.isfinite(highest):
        what = "every one is -inf" if highest == -math.inf else f"one is {highest}"
        raise ValueError(f"expected finite logits, or -inf for a token that must not come, but {what}")
    return scores


def _name(tokens: Names | None, token_id: int, V: int) -> str:
    if tokens is None:
        name = f"id {token_id}"
    elif hasattr(tokens, "decode"):
        name = repr(tokens.decode([token_id]))
    elif callable(tokens):
        name = str(tokens(token_id))
    elif isinstance(tokens, Sequence) and not isinstance(tokens, str) and len(tokens) == V:
        name = str(tokens[token_id])
    else:
        got = f"{len(tokens)} of them" if isinstance(tokens, Sequence) else type(tokens).__name__
        raise ValueError(f"expected {V} token names, a function id -> name, or a tokenizer with decode, got {got}")
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _steps(ranked: Tensor) -> list[int]:
    below = (ranked[N_EXACT - 1 : N_CLOSE] / STEP).round().long()
    return below.diff().tolist()


def _grouped(ranked: Tensor) -> list[list[float]]:
    """[n, mean, half] of all that are not single: cut at ranks that grow by an even factor from group to group.

    The lowest few are far apart: there the groups shrink again, to a single token.
    """
    if len(ranked) <= N_CLOSE:
        return []
    factor = (len(ranked) / N_CLOSE) ** (1 / N_GROUPS)
    ranks = {round(N_CLOSE * factor**i) for i in range(N_GROUPS)} | {len(ranked) - n for n in LOWEST}
    edges = np.array(sorted(rank for rank in ranks if rank >= N_CLOSE))
    begins, n_of = edges[:-1], np.diff(edges)
    logits = ranked.numpy()
    means = np.add.reduceat(logits, begins) / n_of
    squares = np.square(logits[begins[0] :] - means.repeat(n_of))
    halves = np.sqrt(3 * np.add.reduceat(squares, begins - begins[0]) / n_of)  # those of evenly spread logits
    halves = np.minimum(halves, logits[begins - 1] - means)  # none comes out above the group before
    columns = n_of, means.round(5), halves.round(5)
    return [list(group) for group in zip(*(column.tolist() for column in columns), strict=True)]

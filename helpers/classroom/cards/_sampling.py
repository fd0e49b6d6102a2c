"""The sampling card: what temperature and filters make of a next-token distribution, exactly and in draws."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.classroom.cards._card import Card
from helpers.language import spoken

N_SINGLE = 1500  # highest logits that the page gets one by one: among fewer, one kept too many by min-p would show
UNIT = 1e-6  # nats; in whole numbers of these the page gets how far each lies from the one before
N_GROUPS = 160  # of the others
# Ranks from below at which groups end too: there the logits are far apart.
LOWEST = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MIN_VOCAB, MAX_VOCAB = 2, 200_000
N_SHOWN = 12  # rows of the card: the highest tokens, the others together in one row more
NAME_LENGTH = 14  # characters of a token's name that are shown
START = {"temperature": 1.0, "n_draws": 100}  # where sliders start; each filter is off

_HUNDREDTHS = (*range(0, 101, 5), *range(110, 201, 10), *range(225, 301, 25), *range(350, 501, 50))
_PER_MILLE = (1, 2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
K_DIGITS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)  # stops of top-k per factor of ten, from 10 on


class Slider(NamedTuple):
    """A slider and the values that it stops at, infinity as JSON can write it; None switches a filter off."""

    name: str
    label: str
    stops: tuple[float | str | None, ...]


def sliders(V: int) -> list[Slider]:
    """The card's sliders, under the names of `gpt.SamplingParams`, for V tokens."""
    ks = [*range(1, min(V, 10)), *(k * 10**power for power in range(6) for k in K_DIGITS if k * 10**power < V)]
    # A new filter: a line here, a function in FILTERS of sampling.js, a function and a field in gpt/sampling.py.
    return [
        Slider("temperature", "temperature T", (*(x / 100 for x in _HUNDREDTHS), "Infinity")),
        Slider("top_k", "top-k: the k highest", (*ks, None)),
        Slider("top_p", "top-p: the fewest that hold p", (*(x / 1000 for x in [*range(10, 991, 10), 995, 999]), None)),
        Slider("min_p", "min-p: share of the top-1’s", (None, *(x / 1000 for x in _PER_MILLE))),
        Slider("n_draws", "draws", (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)),
    ]


def sampling(logits: Sequence[float] | Tensor, tokens: object = None, *, prompt: str = "") -> Card:
    """Bars of the highest next tokens under sliders for temperature, top-k, top-p and min-p, and draws from them.

    logits   V scores, V in [2, 200,000], in any order; -inf forbids a token
    tokens   V names; or a tokenizer, whose `decode([id])` is shown in quotes; None: the ids
    prompt   the text before, for the card's sentence; may be empty

    ValueError: not one row of V numbers, NaN or +inf among them, no finite one, or another number of names.
    """
    return sampling_card(sampling_config(logits, tokens, prompt=prompt), torch.as_tensor(logits))


def sampling_card(config: dict, logits: Tensor, *, fed: str = "") -> Card:
    """The card of a config of `sampling_config`; `fed`: the event upon which other numbers come from a kernel."""
    every = sliders(config["V"])
    probs = logits.detach().cpu().double().softmax(-1)
    best = probs.sort(descending=True).values[: len(config["names"])].tolist()
    rows = [(name, f"{100 * p:.2f} %") for name, p in zip(config["names"], best, strict=True)]
    entropy = torch.special.entr(probs).sum().item()
    (top, p), prompt, like = rows[0], config["prompt"], f"{math.exp(entropy):,.1f}"
    sentence = f"The top-1 token is {top} with {p}; entropy {entropy:.2f} nats, as uncertain as {like} equal choices."
    if prompt:  # two whole sentences: a translation turns words around
        sentence = (
            f"After “{prompt}”, the top-1 token is {top} with {p}; entropy {entropy:.2f} nats, as uncertain as {like} "
            "equal choices."
        )
    return Card(
        kind="sampling",
        title="What comes next? Temperature and filters",
        sentence=sentence,
        values={slider.name: slider.stops.index(START.get(slider.name)) for slider in every}
        | {"order": 0, "scale": 0, "seed": 1},
        config=config | {"sliders": [(s.name, spoken(s.label), list(s.stops)) for s in every]},
        table=[("token", "probability"), *rows, ("all others", f"{100 * max(1 - sum(best), 0):.2f} %")],
        attributes=f'data-fed="{fed}"' if fed else "",
    )


def sampling_config(logits: Sequence[float] | Tensor, tokens: object = None, *, prompt: str = "") -> dict:
    """What the page needs about one distribution, as plain JSON of about 10 kB, whatever V is; arguments as above.

    return  V; steps: how far each of the highest logits lies above the one before it, in UNITs, so at most 0; groups:
            the other logits as [n, mean, half], n of them evenly within mean ± half, relative to the highest; names: of
            the rows shown; prompt; error: a message to the reader, None here
    """
    scores = _checked(logits)
    V = len(scores)
    ranked = np.sort(scores.numpy())[::-1]  # several times as fast as torch's sort
    best = (scores >= ranked[min(N_SHOWN, V) - 1].item()).nonzero().squeeze(-1)
    best = best[scores[best].argsort(descending=True, stable=True)]  # equals by lower id
    ranked = ranked[ranked > -np.inf] - ranked[0]
    steps = np.diff((ranked[:N_SINGLE] / UNIT).round(), prepend=0).astype(int).tolist()
    names = [_name(tokens, i, V) for i in best[:N_SHOWN].tolist()]
    return {"V": V, "steps": steps, "groups": _grouped(ranked), "names": names, "prompt": prompt, "error": None}


def _grouped(ranked: np.ndarray) -> list[list[float]]:
    """[n, mean, half] of all that are not single: cut at ranks that grow by an even factor from group to group."""
    if len(ranked) <= N_SINGLE:
        return []
    ranks = {*np.geomspace(N_SINGLE, len(ranked), N_GROUPS).round().astype(int), *(len(ranked) - n for n in LOWEST)}
    edges = np.array(sorted(rank for rank in ranks if rank >= N_SINGLE))
    begins, n_of = edges[:-1], np.diff(edges)
    means = np.add.reduceat(ranked, begins) / n_of
    squares = np.square(ranked[N_SINGLE:] - means.repeat(n_of))
    halves = np.sqrt(3 * np.add.reduceat(squares, begins - N_SINGLE) / n_of)  # those of evenly spread logits
    halves = np.minimum(halves, ranked[begins - 1] - means)  # none comes out above the group before
    return [list(group) for group in zip(n_of.tolist(), means.round(5).tolist(), halves.round(5).tolist(), strict=True)]


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


def _name(tokens: object, token_id: int, V: int) -> str:
    if tokens is None:
        name = f"id {token_id}"
    elif hasattr(tokens, "decode"):
        name = repr(tokens.decode([token_id]))
    elif isinstance(tokens, Sequence) and not isinstance(tokens, str) and len(tokens) == V:
        name = str(tokens[token_id])
    else:
        got = f"{len(tokens)} of them" if isinstance(tokens, Sequence) else type(tokens).__name__
        raise ValueError(f"expected {V} token names, or a tokenizer with decode, got {got}")
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"

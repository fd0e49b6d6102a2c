"""Temperature and filters over the next-token bars, exact probability beside the frequency of draws, in the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from helpers.classroom.cards._card import Card, State
from helpers.classroom.cards._distribution import (
    Names,
    Outcome,
    Settings,
    draw_counts,
    groups_of,
    outcome,
    sampling_config,
)
from helpers.classroom.cards._sampling_view import plain, template

# The sliders' stops; those of top-k depend on V. The script has the same.
_HUNDREDTHS = (*range(0, 101, 5), *range(110, 201, 10), *range(225, 301, 25), *range(350, 501, 50))
TEMPERATURES = (*(x / 100 for x in _HUNDREDTHS), math.inf)
TOP_PS = tuple(x / 1000 for x in [*range(10, 991, 10), 995, 999, 1000])  # the last one keeps all
MIN_PS = tuple(
    x / 1000 for x in (0, 1, 2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
)
N_DRAWS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
K_DIGITS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)  # stops of top-k per factor of ten, from 10 on
WHISKERS = 3  # standard errors that the scale leaves room for beyond a bar
NO_BREAK = "\u00a0"
NOT_SHOWN = "display:none"
TITLE = "What comes next? Temperature and filters"

START = {
    "temperature": TEMPERATURES.index(1.0),
    "top_k": 0,
    "top_p": len(TOP_PS) - 1,
    "min_p": 0,
    "n": N_DRAWS.index(100),
    "order": 0,
    "seed": 1,
}


def sampling(
    logits: Sequence[float] | Tensor,
    tokens: Names | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    filters_first: bool = True,
    n_draws: int = 100,
    n_shown: int = 12,
    prompt: str = "",
) -> Card:
    """Bars of the likeliest next tokens under sliders for temperature, top-k, top-p and min-p, and draws from them.

    logits, tokens, n_shown, prompt  as for `sampling_config`
    temperature    in [0, 5] or inf; top_k in [1, V], top_p in (0, 1], min_p in (0, 1], or None: where the sliders
                   start, on one of their stops; `helpers.gpt.decode.SamplingParams` says what each does
    filters_first  False: the temperature comes before the filters
    n_draws        10 to 10,000, a stop of its slider

    ValueError: as for `sampling_config`; a value that is no stop of its slider, with the nearest one.
    """
    config = sampling_config(logits, tokens, n_shown=n_shown, prompt=prompt)
    values = {
        "temperature": _stop("temperature", temperature, TEMPERATURES),
        "top_k": _stop("top_k", config["V"] if top_k is None else top_k, k_stops(config["V"])),
        "top_p": _stop("top_p", 1.0 if top_p is None else top_p, TOP_PS),
        "min_p": _stop("min_p", 0.0 if min_p is None else min_p, MIN_PS),
        "n": _stop("n_draws", n_draws, N_DRAWS),
        "order": int(not filters_first),
        "seed": 1,
    }
    return sampling_card(config, values)


def sampling_card(config: dict, values: dict[str, float] | None = None, *, fed: bool = False) -> Card:
    """The card of a `sampling_config`.

    values  positions of the sliders, as `sampling_state` takes them; None: temperature 1, no filter, 100 draws
    fed     True: the card takes another config from a hidden element with `data-feed` and `data-config`, as the
            loss stepper does; it must have as many names as this one
    """
    names, ks = config["names"], k_stops(config["V"])
    values = values or START | {"top_k": len(ks) - 1}
    stops = {"temperature": TEMPERATURES, "top_k": ks, "top_p": TOP_PS, "min_p": MIN_PS, "n": N_DRAWS}
    state = sampling_state(values, config)
    return Card(
        kind="sampling",
        title=TITLE,
        template=template(values, {k: len(s) - 1 for k, s in stops.items()}, START["temperature"], len(names)),
        values=values,
        config=config,
        compute=sampling_state,
        text=f"sampling widget: {state['summary']}",
        attributes='data-fed="yes"' if fed else "",
        plain=plain(state, names),
    )


def k_stops(V: int) -> list[int]:
    """The values that the top-k slider offers, 1 to V; the last one keeps all."""
    stops = list(range(1, min(V, 10)))
    stops += [digits * 10**power for power in range(6) for digits in K_DIGITS if digits * 10**power < V]
    return [*stops, V]


def settings_at(values: dict[str, float], V: int) -> Settings:
    """What the sliders' positions stand for."""
    stops = k_stops(V)
    k, p, m = (int(values[name]) for name in ("top_k", "top_p", "min_p"))
    return Settings(
        temperature=TEMPERATURES[int(values["temperature"])],
        top_k=stops[k] if k < len(stops) - 1 else None,
        top_p=TOP_PS[p] if p < len(TOP_PS) - 1 else None,
        min_p=MIN_PS[m] or None,
        filters_first=not values["order"],
    )


def sampling_state(values: dict[str, float], config: dict) -> State:
    """Every text and attribute of the card; sampling.js agrees.

    values  positions of `temperature`, `top_k`, `top_p`, `min_p` and `n`; `order` 1 where the temperature comes first;
            `seed` of the draws
    """
    settings, n = settings_at(values, config["V"]), N_DRAWS[int(values["n"])]
    groups, n_shown = groups_of(config), len(config["names"])
    now = outcome(groups, settings)
    own = outcome(groups, Settings()).probs
    probs = (now.probs + [0.0] * n_shown)[:n_shown]
    own_probs = (own + [0.0] * n_shown)[:n_shown]
    counts = draw_counts(probs, n, int(values["seed"]))
    errors = [math.sqrt(p * (1 - p) / n) for p in probs]
    scale = min(max(p + WHISKERS * e for p, e in zip(probs, errors, strict=True)), 1.0)
    state: State = {
        "summary": _summary(now, probs[0], config),
        "error": config["error"] or "",
        "error@hidden": None if config["error"] else "",
        **_slider_texts(settings, values, n, config["V"]),
        "axis": f"0 to {100 * scale:.{0 if scale >= 0.1 else 1}f} %",
        "draws": f"{n:,} draws",
        "note": _note(config),
    }
    for i in range(n_shown):
        kept = i < len(now.groups)
        state |= {f"row{i}@class": None if kept else "cw-cut", f"mark{i}": "kept" if kept else "cut"}
        state |= {f"name{i}": config["names"][i], f"own{i}": _percent(own_probs[i])}
        state |= _drawn(i, probs[i], counts[i] / n, errors[i], scale) | {
            f"f{i}": _frequency(counts[i] / n, errors[i], n)
        }
    return state | _others(now, probs, own_probs, counts[-1] / n, n, config)


def _drawn(i: int, p: float, f: float, error: float, scale: float) -> State:
    bar = f"width:{100 * p / scale:.1f}%"
    whisker = f"left:{100 * (f - error) / scale:.1f}%;width:{200 * error / scale:.1f}%"
    return {
        f"p{i}": _percent(p),
        f"bar{i}@style": bar if p else NOT_SHOWN,
        f"whisker{i}@style": whisker if p else NOT_SHOWN,
    }


def _others(now: Outcome, probs: list[float], own: list[float], f: float, n: int, config: dict) -> State:
    n_shown, V = len(config["names"]), config["V"]
    p, own_p = (max(1 - math.fsum(x), 0.0) for x in (probs, own))
    kept = max(now.n_kept - n_shown, 0)
    p, own_p = (x if x > 1e-12 else 0.0 for x in (p, own_p))  # what rounding left
    about = "" if now.exact or not kept else "≈ "
    return {
        "others@hidden": None if n_shown < V else "",
        "other": f"all {V - n_shown:,} others: {about}{kept:,} kept",
        "other_own": _percent(own_p),
        "other_p": _percent(p),
        "other_f": _frequency(f, math.sqrt(p * (1 - p) / n), n),
    }


def _summary(now: Outcome, highest: float, config: dict) -> str:
    V, n_kept = config["V"], now.n_kept
    likeliest = config["names"][0].replace(" ", NO_BREAK)
    said = f"all {V:,} tokens are kept."
    if n_kept < V:
        said = (
            f"{'' if now.exact else 'about '}{n_kept:,} of {V:,} tokens {'is' if n_kept == 1 else 'are'} kept, "
            f"{_percent(now.model_mass)} of the model’s probability."
        )
    said = f"After “{config['prompt']}”, {said}" if config["prompt"] else said[0].upper() + said[1:]
    return (
        f"{said} The likeliest, {likeliest}, now has {_percent(highest)}; entropy {now.entropy:.2f} "
        f"nats, as unsure as {math.exp(now.entropy):,.1f} equal choices."
    )


def _note(config: dict) -> str:
    if not config["groups"]:
        return ""
    n = len(config["logits"]) + len(config["steps"])
    return (
        f"Beyond the {n:,} likeliest, the page knows the tokens in groups only: a number of kept ones may be "
        "approximate, the probabilities shown are right to 0.01 %."
    )


def _slider_texts(settings: Settings, values: dict[str, float], n: int, V: int) -> State:
    T = settings.temperature
    said = "0, always the likeliest" if T == 0 else "∞, all kept alike" if math.isinf(T) else f"{T:.2f}"
    texts = {
        "temperature": said,
        "top_k": "off" if settings.top_k is None else f"{settings.top_k:,}",
        "top_p": "off" if settings.top_p is None else f"{settings.top_p:g}",
        "min_p": "off" if settings.min_p is None else f"{settings.min_p:g}",
        "n": f"{n:,}",
    }
    state: State = {"top_k_in@max": f"{len(k_stops(V)) - 1}"}
    for name, text in texts.items():
        state |= {f"{name}_text": text, f"{name}_in@aria-valuetext": text}
    for k in (0, 1):
        state[f"order{k}@aria-pressed"] = "true" if values["order"] == k else "false"
    return state


def _percent(p: float) -> str:
    return "0 %" if p == 0 else "< 0.01 %" if p < 5e-5 else f"{100 * p:.2f} %"


def _frequency(f: float, error: float, n: int) -> str:
    digits = 2 if n >= 1000 else 1
    return f"{100 * f:.{digits}f} ± {100 * error:.{digits}f} %"


def _stop(name: str, value: float, stops: Sequence[float]) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value not in stops:
        near = "" if not isinstance(value, (int, float)) or math.isnan(value) else (
            f"; the nearest stop is {min(stops, key=lambda s: (abs(s - value), s)):g}"
        )  # fmt: skip
        raise ValueError(f"{name} must be a stop of its slider, in [{stops[0]:g}, {stops[-1]:g}], got {value!r}{near}")
    return stops.index(value)

"""What makes pretraining expensive: tokens to read, tokens read per second, and the time that follows."""

from __future__ import annotations

import math

from helpers.classroom.cards._card import Card, State, button, slider
from helpers.labs import budget

# The preferred numbers E24 (IEC 60063): 24 round steps per factor of ten, nearly even on a log scale.
E24 = (10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91)
TOKENS = (6, 14)  # powers of ten that the slider covers
RATE = (2, 9)
SECONDS = (0, 11)  # powers of ten on the vertical axis: one second to three thousand years
X0, Y0, WIDTH, HEIGHT = 84, 12, 456, 300  # the picture's frame, in px
LINES = (
    ("1 second", 1),
    ("1 hour", budget.SECONDS_PER_HOUR),
    ("1 day", budget.SECONDS_PER_DAY),
    ("1 month", budget.DAYS_PER_MONTH * budget.SECONDS_PER_DAY),
    ("1 year", 365 * budget.SECONDS_PER_DAY),
    ("100 years", 36500 * budget.SECONDS_PER_DAY),
)
CLASS_TOKENS, CLASS_RATES = 300e9, (15_000, 150_000)  # the figures that the class discussed


def cost(n_tokens: float = 300e9, tokens_per_s: float = 15_000) -> Card:
    """Two sliders, tokens to read and tokens per second; the time they take, and the speed that one hour needs.

    n_tokens      in [1e6, 1e14]
    tokens_per_s  in [100, 1e9]

    ValueError: outside the sliders' range.
    """
    for name, value, (low, high) in (("n_tokens", n_tokens, TOKENS), ("tokens_per_s", tokens_per_s, RATE)):
        if not 10.0**low <= value <= 10.0**high:
            raise ValueError(f"{name} must be within the slider's range, 1e{low} to 1e{high}, got {value!r}")
    config = {"tokens": _scale(n_tokens, TOKENS), "rate": _scale(tokens_per_s, RATE)}
    values = {"tokens": config["tokens"][1], "rate": config["rate"][1]}
    text = f"cost widget: {_taken(n_tokens, tokens_per_s)}"
    return Card(
        kind="cost",
        title="How long does pretraining take?",
        template=_template(config),
        values=values,
        config=config,
        compute=cost_state,
        text=text,
    )


def cost_state(values: dict[str, float], config: dict) -> State:
    """Every text and coordinate of the card for slider positions `tokens` and `rate`; cost.js agrees."""
    n_tokens = position_value(values["tokens"], config["tokens"])
    tokens_per_s = position_value(values["rate"], config["rate"])
    seconds = budget.training_seconds(n_tokens, tokens_per_s)
    needed = n_tokens / budget.SECONDS_PER_HOUR
    factor = needed / tokens_per_s
    if factor > 1:
        versus = f"{factor:,.0f} times this speed" if factor >= 10 else f"{factor:.1f} times this speed"
    else:
        versus = "which this speed reaches"
    slowest, fastest = 10.0 ** RATE[0], 10.0 ** RATE[1]
    left = max(slowest, n_tokens / 10.0 ** SECONDS[1])
    right = min(fastest, n_tokens)
    crossing, on_picture = min(needed, fastest), needed <= fastest
    to_the_left = crossing > 1e5
    label_y = _y(budget.SECONDS_PER_HOUR) + (23 if to_the_left else -8)
    return {
        "summary": f"{_taken(n_tokens, tokens_per_s)}. "
        f"One hour needs {budget.readable_count(needed)} tokens/s, {versus}.",
        "time": budget.readable_time(seconds),
        "tokens_text": f"{budget.readable_count(n_tokens)} tokens",
        "tokens_in@aria-valuetext": f"{budget.readable_count(n_tokens)} tokens",
        "rate_text": f"{budget.readable_count(tokens_per_s)} tokens/s",
        "rate_in@aria-valuetext": f"{budget.readable_count(tokens_per_s)} tokens/s",
        "line@x1": f"{_x(left):.1f}",
        "line@y1": f"{_y(n_tokens / left):.1f}",
        "line@x2": f"{_x(right):.1f}",
        "line@y2": f"{_y(n_tokens / right):.1f}",
        "dot@cx": f"{_x(tokens_per_s):.1f}",
        "dot@cy": f"{_y(seconds):.1f}",
        "drop@x1": f"{_x(tokens_per_s):.1f}",
        "drop@x2": f"{_x(tokens_per_s):.1f}",
        "drop@y1": f"{_y(seconds):.1f}",
        "cross@x": f"{_x(crossing) - 7:.1f}",
        "cross@visibility": None if on_picture else "hidden",
        "hour": f"one hour: {budget.readable_count(needed)} tokens/s{'' if on_picture else ' →'}",
        "hour@x": f"{_x(crossing) + (-12 if to_the_left else 12):.1f}",
        "hour@y": f"{label_y:.1f}",
        "hour@text-anchor": "end" if to_the_left else "start",
    }


def position_value(position: float, scale: list[float]) -> float:
    """The number at a slider's position: E24 steps, except that the position it started from keeps the exact number.

    scale  (power of ten at position 0, starting position, number there)
    """
    low, start, exact = scale
    if position == start:
        return exact
    decade, step = divmod(int(position), len(E24))
    return float(E24[step] * 10 ** (low + decade - 1))


def _scale(value: float, powers: tuple[int, int]) -> list[float]:
    low, high = powers
    positions = range((high - low) * len(E24) + 1)
    nearest = min(positions, key=lambda i: abs(math.log(position_value(i, [low, -1, 0]) / value)))
    return [low, nearest, value]


def _taken(n_tokens: float, tokens_per_s: float) -> str:
    time = budget.readable_time(budget.training_seconds(n_tokens, tokens_per_s))
    return f"{budget.readable_count(n_tokens)} tokens at {budget.readable_count(tokens_per_s)} tokens/s take {time}"


def _x(tokens_per_s: float) -> float:
    return X0 + (math.log10(tokens_per_s) - RATE[0]) / (RATE[1] - RATE[0]) * WIDTH


def _y(seconds: float) -> float:  # a time outside the axis stays on its edge
    share = (math.log10(seconds) - SECONDS[0]) / (SECONDS[1] - SECONDS[0])
    return Y0 + HEIGHT * (1 - min(max(share, 0.0), 1.0))


def _template(config: dict) -> str:
    bottom, right = Y0 + HEIGHT, X0 + WIDTH
    rows = "".join(
        f'<line x1="{X0}" x2="{right}" y1="{_y(s):.1f}" y2="{_y(s):.1f}" stroke="{colour}" stroke-width="{width}"/>'
        f'<text x="{X0 - 8}" y="{_y(s) + 5:.1f}" text-anchor="end">{name}</text>'
        for name, s in LINES
        for colour, width in [("#d55e00", 2) if name == "1 hour" else ("#c3cad2", 1)]
    )
    ticks = "".join(
        f'<line x1="{_x(10.0**p):.1f}" x2="{_x(10.0**p):.1f}" y1="{bottom}" y2="{bottom + 6}" stroke="#5b6470"/>'
        + (
            f'<text x="{_x(10.0**p):.1f}" y="{bottom + 23}" text-anchor="middle">'
            f"{budget.readable_count(10.0**p)}</text>" * (p % 2 == 0)
        )
        for p in range(RATE[0], RATE[1] + 1)
    )
    picture = (
        f'<svg width="{right + 24}" height="{bottom + 50}" viewBox="0 0 {right + 24} {bottom + 50}" role="img" '
        'aria-label="Time against tokens per second on two log axes: a falling line, a dot at the chosen speed, '
        f'a square where the line crosses one hour">{rows}{ticks}'
        f'<text x="0" y="{Y0 + 3}">time (log scale)</text>'
        f'<text x="{(X0 + right) / 2}" y="{bottom + 46}" text-anchor="middle">tokens per second (log scale)</text>'
        '<line data-key="line" stroke="#0072b2" stroke-width="3"/>'
        f'<line data-key="drop" y2="{bottom}" stroke="#0072b2" stroke-width="1.5" stroke-dasharray="4 4"/>'
        f'<rect data-key="cross" y="{_y(budget.SECONDS_PER_HOUR) - 7:.1f}" width="14" height="14" fill="#d55e00"/>'
        '<text data-key="hour" class="cw-halo" font-weight="600"></text>'
        '<circle data-key="dot" r="9" fill="#0072b2" stroke="#fff" stroke-width="2"/></svg>'
    )
    tokens = slider("tokens", "to read", config["tokens"][1], 0, (TOKENS[1] - TOKENS[0]) * len(E24))
    rate = slider("rate", "speed", config["rate"][1], 0, (RATE[1] - RATE[0]) * len(E24))
    presets = "".join(_preset(r, config) for r in CLASS_RATES)
    return (
        f'<div class="cw-cols"><div class="cw-left"><div class="cw-big" data-key="time"></div>{tokens}{rate}'
        f'<div class="cw-presets">{presets}</div></div><div class="cw-right">{picture}</div></div>'
    )


def _preset(tokens_per_s: float, config: dict) -> str:
    positions = {"tokens": _scale(CLASS_TOKENS, TOKENS)[1], "rate": _scale(tokens_per_s, RATE)[1]}
    n_tokens, speed = (position_value(positions[k], config[k]) for k in ("tokens", "rate"))
    return button(f"{budget.readable_count(n_tokens)} at {budget.readable_count(speed)}/s", set_to=positions)

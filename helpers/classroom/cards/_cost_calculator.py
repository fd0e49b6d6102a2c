"""What will it cost? Time, money and energy of a run beside what is available, and what to change, in the page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from helpers.classroom.cards._card import Card
from helpers.classroom.cards._cost import E24
from helpers.classroom.cards._cost_state import calculator_state
from helpers.classroom.cards._cost_view import plain, template
from helpers.labs import budget

# Tokens per second of GPT-2 124M, context 1,024, on one A100: the first and the last rung of a published ladder.
# Source: Raschka, code repository of Build a Large Language Model (From Scratch), ch05/10.
A100_SPEEDS = {"A100, first rung": 12_525, "A100, last rung": 142_156}
# Of each control: lowest and highest stop, in units; how many of them are one.
TOKENS, RATE, PRICE, WATTS, MONEY = (10**6, 10**14, 1), (100, 10**9, 1), (10, 10**5, 100), (10, 10**6, 1), (1, 10**6, 1)
MONTH = budget.DAYS_PER_MONTH * budget.SECONDS_PER_DAY // budget.SECONDS_PER_HOUR
HOURS = (0.5, 1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168, 336, MONTH, 3 * MONTH, 6 * MONTH, 8760)
MAX_SPEEDS, MAX_NAME, MAX_CURRENCY = 4, 24, 6


def cost_calculator(
    n_tokens: float = 1e9,
    tokens_per_s: float = 12_525,
    price_per_hour: float = 0.0,
    *,
    watts: float | None = None,
    currency: str = "R$",
    hours_available: float = 4.0,
    money_available: float | None = None,
    speeds: Mapping[str, float] | None = None,
) -> Card:
    """Time, money, energy and sessions that `n_tokens` take; red, and what to change, where time or money run out.

    n_tokens         in [1e6, 1e14]
    tokens_per_s     in [100, 1e9]
    price_per_hour   of `currency`, 0 or in [0.1, 1000]
    watts            power of the machine while it trains, in [10, 1e6]; None where it is not known
    currency         written before the money, 1 to 6 characters
    hours_available  of one session, in [0.5, 8760]
    money_available  in [1, 1e6]; None: no limit
    speeds           name -> tokens/s, at most four, drawn beside the chosen speed and to be chosen by a button, such as
                     {"this machine": measured}; the published `A100_SPEEDS` stand below them

    return  Card. Its numbers are those of `budget.cost`

    ValueError: a number outside its range, a name longer than 24 characters, or more than four speeds.
    """
    _within("n_tokens", n_tokens, TOKENS)
    _within("tokens_per_s", tokens_per_s, RATE)
    _within("price_per_hour", price_per_hour, PRICE, or_else=0)
    _within("watts", watts, WATTS, or_else=None)
    _within("hours_available", hours_available, (HOURS[0], HOURS[-1], 1))
    _within("money_available", money_available, MONEY, or_else=None)
    if not isinstance(currency, str) or not 1 <= len(currency) <= MAX_CURRENCY:
        raise ValueError(f"currency must be 1 to {MAX_CURRENCY} characters, got {currency!r}")
    named = _named(speeds or {})
    stops = {
        "tokens": scale(TOKENS, n_tokens),
        "rate": scale(RATE, tokens_per_s, *named.values()),
        "price": [0, *scale(PRICE, *[price_per_hour] * (price_per_hour > 0))],
        "watts": [None, *scale(WATTS, *[watts] * (watts is not None))],
        "hours": sorted({*HOURS, hours_available}),
        "money": [*scale(MONEY, *[money_available] * (money_available is not None)), None],
    }
    starts = (n_tokens, tokens_per_s, price_per_hour, watts, hours_available, money_available)
    values = {name: stops[name].index(start) for name, start in zip(stops, starts, strict=True)}
    config = {"stops": stops, "currency": currency, "speeds": list(named.values())}
    state = calculator_state(values, config)
    return Card(
        kind="calculator",
        title="What will it cost? Time, money, energy",
        template=template(values, config, list(named)),
        values=values,
        config=config,
        compute=calculator_state,
        text=f"cost calculator: {state['summary']}",
        plain=plain(state, list(named)),
    )


def scale(limits: tuple[int, int, int], *exact: float) -> list[float]:
    """E24's round steps from the lowest to the highest, and the exact numbers in their places.

    limits  lowest and highest in units, and how many units are one
    """
    low, high, unit = limits
    steps = (digits * 10**power / 10 for power in range(len(str(high)) - 1) for digits in E24)
    stops = {x / unit for x in (*steps, high) if low <= x <= high} | set(exact)
    return [int(x) if x == int(x) else x for x in sorted(stops)]


def _named(speeds: Mapping[str, float]) -> dict[str, float]:
    if len(speeds) > MAX_SPEEDS:
        raise ValueError(f"speeds must be at most {MAX_SPEEDS}, got {len(speeds)}: {', '.join(map(str, speeds))}")
    for name, speed in speeds.items():
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
            raise ValueError(f"a name in speeds must have 1 to {MAX_NAME} characters, got {name!r}")
        _within(f"speeds[{name!r}]", speed, RATE)
    return dict(speeds) | {name: speed for name, speed in A100_SPEEDS.items() if name not in speeds}


def _within(name: str, value: object, limits: tuple[float, float, int], **or_else: object) -> None:
    if value in or_else.values() and not isinstance(value, bool):
        return
    low, high, unit = limits
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low / unit <= value <= high / unit:
        other = "".join(f" or {allowed}" for allowed in or_else.values())
        raise ValueError(f"{name} must be a number in [{low / unit:g}, {high / unit:g}]{other}, got {value!r}")

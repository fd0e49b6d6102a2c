"""What will it cost? Time, money and energy of a run beside what is available, and what to change, in the page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from helpers.classroom.cards._card import Card
from helpers.labs import budget
from helpers.language import spoken

# Tokens per second of GPT-2 124M, context 1,024, on one A100: the first and the last step of a published ablation.
# Source: Raschka, code repository of Build a Large Language Model (From Scratch), ch05/10.
A100_SPEEDS = {"A100, first step": 12_525, "A100, last step": 142_156}
# Of each control: the argument that it stands for, its lowest and its highest number, and what else it may be.
CONTROLS = {
    "tokens": ("n_tokens", 1e6, 1e14),
    "rate": ("tokens_per_s", 100, 1e9),
    "price": ("price_per_hour", 0.1, 1000, 0),
    "watts": ("watts", 10, 1e6, None),
    "hours": ("hours_available", 0.5, 8760),
    "money": ("money_available", 1, 1e6, None),
}
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

    ValueError: a number outside its range, a name longer than 24 characters, or more than four speeds.
    """
    given = (n_tokens, tokens_per_s, price_per_hour, watts, hours_available, money_available)
    start = dict(zip(CONTROLS, given, strict=True))
    for control, value in start.items():
        _within(value, *CONTROLS[control])
    if not isinstance(currency, str) or not 1 <= len(currency) <= MAX_CURRENCY:
        raise ValueError(f"currency must be 1 to {MAX_CURRENCY} characters, got {currency!r}")
    return _card(start, currency, _named(speeds or {}))


def _card(start: dict, currency: str, named: dict[str, float]) -> Card:
    limits = {control: limit[1:3] for control, limit in CONTROLS.items()}
    all_speeds = {"chosen speed": start["rate"]} | named
    return Card(
        kind="calculator",
        title="What will it cost? Time, money, energy",
        sentence=_sentence(start, currency),
        values=start,
        config={"start": start, "limits": limits, "currency": currency, "speeds": named},
        table=[
            ("speed", "tokens/s", "time"),
            *(
                (name, budget.readable_count(s), budget.readable_time(budget.training_seconds(start["tokens"], s)))
                for name, s in all_speeds.items()
            ),
        ],
    )


def _sentence(start: dict, currency: str) -> str:
    def price(amount: float) -> str:
        return f"{currency} {amount:,.2f}" if amount < 1e6 else f"{currency} {budget.readable_count(amount)}"

    tokens, rate, money = start["tokens"], start["rate"], start["money"]
    taken = budget.cost(tokens, rate, start["price"], start["watts"])
    time, available = (budget.readable_time(h * budget.SECONDS_PER_HOUR) for h in (taken.hours, start["hours"]))
    return (
        f"{budget.readable_count(tokens)} tokens at {budget.readable_count(rate)} tokens/s take {time} and "
        f"{price(taken.money)}. Available: {available}{'' if money is None else f' and {price(money)}'}."
    )


def _named(speeds: Mapping[str, float]) -> dict[str, float]:
    if len(speeds) > MAX_SPEEDS:
        raise ValueError(f"speeds must be at most {MAX_SPEEDS}, got {len(speeds)}: {', '.join(map(str, speeds))}")
    for name, speed in speeds.items():
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
            raise ValueError(f"a name in speeds must have 1 to {MAX_NAME} characters, got {name!r}")
        _within(speed, f"speeds[{name!r}]", *CONTROLS["rate"][1:])
    return dict(speeds) | {spoken(name): speed for name, speed in A100_SPEEDS.items() if name not in speeds}


def _within(value: object, name: str, low: float, high: float, *or_else: object) -> None:
    if value in or_else and not isinstance(value, bool):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:
        other = "".join(f" or {allowed}" for allowed in or_else)
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}]{other}, got {value!r}")

"""What will it cost? Time, money and energy of a run beside what is available, and what to change, in the page."""

from helpers.classroom.cards._card import Card
from helpers.labs import budget
from helpers.language import spoken

# Tokens per second of GPT-2 124M, context 1,024, on one A100: the first and the last step of a published ablation.
# Source: Raschka, code repository of Build a Large Language Model (From Scratch), ch05/10.
A100_SPEEDS = {"A100, first step": 12_525, "A100, last step": 142_156}
CURRENCY = "R$"
LIMITS = {  # the lowest and the highest number of each control
    "tokens": (1e6, 1e14),
    "rate": (100, 1e9),
    "price": (0.1, 1000),
    "watts": (10, 1e6),
    "hours": (0.5, 8760),
    "money": (1, 1e6),
}


def cost_calculator(
    n_tokens: float = 1e9,
    tokens_per_s: float = 12_525,
    price_per_hour: float = 0.0,
    *,
    watts: float | None = None,
    hours_available: float = 4.0,
) -> Card:
    """Time, money, energy and sessions that `n_tokens` take; red, and what to change, where time or money run out.

    n_tokens         in [1e6, 1e14]
    tokens_per_s     in [100, 1e9]
    price_per_hour   in R$, 0 or in [0.1, 1000]
    watts            power of the machine while it trains, in [10, 1e6]; None where it is not known
    hours_available  of one session, in [0.5, 8760]

    The published `A100_SPEEDS` are drawn beside the chosen speed, and a button chooses them.
    ValueError: a number outside its range.
    """
    _within("n_tokens", n_tokens, "tokens")
    _within("tokens_per_s", tokens_per_s, "rate")
    _within("price_per_hour", price_per_hour, "price", 0)
    _within("watts", watts, "watts", None)
    _within("hours_available", hours_available, "hours")
    start = {"tokens": n_tokens, "rate": tokens_per_s, "price": price_per_hour, "watts": watts}
    start |= {"hours": hours_available, "money": None}  # no limit
    named = {spoken(name): speed for name, speed in A100_SPEEDS.items()}
    all_speeds = {"chosen speed": tokens_per_s} | named
    return Card(
        kind="calculator",
        title="What will it cost? Time, money, energy",
        sentence=_sentence(start),
        values=start,
        config={"start": start, "limits": LIMITS, "currency": CURRENCY, "speeds": named},
        table=[
            ("speed", "tokens/s", "time"),
            *(
                (name, budget.readable_count(s), budget.readable_time(budget.training_seconds(n_tokens, s)))
                for name, s in all_speeds.items()
            ),
        ],
    )


def _sentence(start: dict) -> str:
    taken = budget.cost(start["tokens"], start["rate"], start["price"], start["watts"])
    time, available = (budget.readable_time(h * budget.SECONDS_PER_HOUR) for h in (taken.hours, start["hours"]))
    n, speed = budget.readable_count(start["tokens"]), budget.readable_count(start["rate"])
    amount = f"{taken.money:,.2f}" if taken.money < 1e6 else budget.readable_count(taken.money)
    cost = f"{CURRENCY} {amount}"
    return f"{n} tokens at {speed} tokens/s take {time} and {cost}. Available: {available}."


def _within(name: str, value: object, control: str, *or_else: object) -> None:
    if value in or_else and not isinstance(value, bool):
        return
    low, high = LIMITS[control]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        other = "".join(f" or {allowed}" for allowed in or_else)
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}]{other}, got {value!r}")

"""What makes pretraining expensive: tokens to read, tokens read per second, and the time that follows."""

from __future__ import annotations

from helpers.classroom.cards._card import Card
from helpers.labs import budget

TOKENS, RATE = (6, 14), (2, 9)  # powers of ten that the sliders cover


def cost(n_tokens: float = 300e9, tokens_per_s: float = 15_000) -> Card:
    """Two sliders, tokens to read and tokens per second; the time they take, and the speed that one hour needs.

    n_tokens      in [1e6, 1e14]
    tokens_per_s  in [100, 1e9]

    ValueError: outside the sliders' range.
    """
    for name, value, (low, high) in (("n_tokens", n_tokens, TOKENS), ("tokens_per_s", tokens_per_s, RATE)):
        if not 10.0**low <= value <= 10.0**high:
            raise ValueError(f"{name} must be within the slider's range, 1e{low} to 1e{high}, got {value!r}")
    tokens, rate = budget.readable_count(n_tokens), budget.readable_count(tokens_per_s)
    time = budget.readable_time(budget.training_seconds(n_tokens, tokens_per_s))
    needed = n_tokens / budget.SECONDS_PER_HOUR
    return Card(
        kind="cost",
        title="How long does pretraining take?",
        sentence=f"{tokens} tokens at {rate} tokens/s take {time}.",
        values={"tokens": n_tokens, "rate": tokens_per_s},
        config={"tokens": [*TOKENS, n_tokens], "rate": [*RATE, tokens_per_s]},
        table=(
            ("tokens to read", "tokens per second", "time"),
            (tokens, rate, time),
            (tokens, budget.readable_count(needed), budget.readable_time(budget.SECONDS_PER_HOUR)),
        ),
    )

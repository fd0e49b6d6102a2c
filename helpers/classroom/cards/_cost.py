"""What makes pretraining expensive: tokens to read, tokens read per second, and the time that follows."""

from helpers.classroom.cards._card import Card
from helpers.labs import budget

TOKENS, RATE = (6, 14), (2, 9)  # powers of ten that the sliders cover
N_TOKENS, TOKENS_PER_S = 300e9, 15_000  # where they start


def cost() -> Card:
    """Two sliders, tokens to read and tokens per second; the time they take, and the speed that one hour needs."""
    tokens, rate = budget.readable_count(N_TOKENS), budget.readable_count(TOKENS_PER_S)
    time = budget.readable_time(budget.training_seconds(N_TOKENS, TOKENS_PER_S))
    needed = N_TOKENS / budget.SECONDS_PER_HOUR
    return Card(
        kind="cost",
        title="How long does pretraining take?",
        sentence=f"{tokens} tokens at {rate} tokens/s take {time}.",
        values={"tokens": N_TOKENS, "rate": TOKENS_PER_S},
        config={"tokens": [*TOKENS, N_TOKENS], "rate": [*RATE, TOKENS_PER_S]},
        table=(
            ("tokens to read", "tokens per second", "time"),
            (tokens, rate, time),
            (tokens, budget.readable_count(needed), budget.readable_time(budget.SECONDS_PER_HOUR)),
        ),
    )

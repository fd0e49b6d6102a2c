"""One loss, two characters: a predictor that is uncertain and one that is confidently wrong, at the same perplexity."""

from __future__ import annotations

import math

from helpers.classroom.cards._card import Card
from helpers.gpt import perplexity

MIN_LOSS, MIN_VOCAB, MAX_VOCAB = 0.2, 100, 1_000_000
CONFIDENCES = (0.10, 0.99)


def unsure_or_wrong(vocab_size: int = 50257, loss_nats: float = 4.0, confidence: float = 0.9) -> Card:
    """Two predictors of equal mean loss, hence of equal perplexity; the script defines both.

    The uncertain one spreads its probability evenly over a few tokens, of which one is the target. The betting one
    always gives one token the probability `confidence` and shares the rest evenly; that token is wrong as often as the
    mean loss demands.

    vocab_size  V in [100, 1e6]
    loss_nats   both means, in [0.2, ln V]
    confidence  of the bets, in [0.10, 0.99]

    ValueError: outside these ranges.
    """
    if not isinstance(vocab_size, int) or not MIN_VOCAB <= vocab_size <= MAX_VOCAB:
        raise ValueError(f"vocab_size must be a whole number in [{MIN_VOCAB}, {MAX_VOCAB}], got {vocab_size!r}")
    if not MIN_LOSS <= loss_nats <= math.log(vocab_size):
        raise ValueError(f"loss_nats must be in [{MIN_LOSS}, ln V = {math.log(vocab_size):.2f}], got {loss_nats!r}")
    if not CONFIDENCES[0] <= confidence <= CONFIDENCES[1]:
        raise ValueError(f"confidence must be in [{CONFIDENCES[0]}, {CONFIDENCES[1]}], got {confidence!r}")
    miss = math.log((vocab_size - 1) / (1 - confidence))  # nats, when another token than its own comes
    faces = f"{perplexity(loss_nats):,.1f}"
    return Card(
        kind="predictors",
        title="Same loss: uncertain, or confidently wrong?",
        sentence=f"Both have perplexity {faces}. One spreads its probability evenly over about that many tokens; the "
        f"other always puts {100 * confidence:.0f} % on one token, and pays {miss:.1f} nats where that is wrong.",
        values={"loss": loss_nats, "confidence": confidence},
        config={"V": vocab_size, "least_loss": MIN_LOSS, "confidences": CONFIDENCES},
        table=(
            ("", "uncertain", "betting"),
            ("mean loss, nats", f"{loss_nats:.2f}", f"{loss_nats:.2f}"),
            ("perplexity", faces, faces),
            ("loss where the token is right, nats", f"about {loss_nats:.2f}", f"{-math.log(confidence):.2f}"),
            ("loss where it is wrong, nats", f"about {loss_nats:.2f}", f"{miss:.2f}"),
        ),
    )

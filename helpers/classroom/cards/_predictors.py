"""One loss, two characters: a predictor that is uncertain and one that is confidently wrong, at the same perplexity."""

import math

from helpers.classroom.cards._card import Card
from helpers.gpt import perplexity

MIN_LOSS, CONFIDENCES = 0.2, (0.10, 0.99)  # of the sliders


def unsure_or_wrong() -> Card:
    """Two predictors of equal mean loss, hence of equal perplexity; the script defines both.

    The uncertain one spreads its probability evenly over a few tokens, of which one is the target. The betting one
    always gives one token the same probability and shares the rest evenly; that token is wrong as often as the mean
    loss demands.
    """
    vocab_size, loss_nats, confidence = 50257, 4.0, 0.9  # where they start
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

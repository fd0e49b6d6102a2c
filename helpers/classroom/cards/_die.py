"""Perplexity as the faces of a fair die: how uncertain a prediction is before the roll, how surprised after it."""

import math

from helpers.classroom.cards._card import Card

MAX_FACES = 12


def perplexity_die() -> Card:
    """A die whose weights the reader shapes, and which is rolled: entropy, perplexity, surprisal, and its mean."""
    faces = 6  # it starts fair
    nats, bits = f"{math.log(faces):.2f}", f"{math.log2(faces):.2f}"
    return Card(
        kind="die",
        title="As uncertain as a fair die with how many faces?",
        sentence=f"Before the roll: entropy {nats} nats, as uncertain as a fair die with {faces:.1f} faces. "
        f"After face 1: loss {nats} nats, perplexity {faces:.1f}.",
        values={"faces": faces, "rolled": 1, "rolls": 0, "seed": 1},
        config={"most_faces": MAX_FACES},
        table=(
            ("a fair die", "nats", "bits", "exp(nats)"),
            ("entropy, before", nats, bits, f"{faces:.1f}"),
            ("surprisal, after", nats, bits, f"{faces:.1f}"),
        ),
    )

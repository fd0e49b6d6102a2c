"""The memory's moments as numbers that a page can multiply: coefficients of B and T, found from `budget`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product

import numpy as np

from helpers.gpt import CHUNK_TOKENS, GPTConfig
from helpers.labs.budget import Memory
from helpers.labs.budget.activations import Run
from helpers.labs.budget.phases import BACKWARD, EVALUATION, FORWARD, STEP, moments

PHASES = (FORWARD, BACKWARD, STEP, EVALUATION)
PARTS = ("gradients", "copies", "activations", "logits")  # of a `Moment`
# Where the moments are evaluated: (rows, tokens in a row). Five for the coefficients, and one that must agree.
POINTS = ((1, 1), (1, 2), (2, 1), (2, 2), (300, 1), (7, 60))


def monomials(B: int, T: int) -> tuple[int, int, int, int, int]:
    """What every part of a moment is a sum of multiples of."""
    return 1, T, B * T, B * T * T, min(B * T, CHUNK_TOKENS)


def coefficients(values: np.ndarray) -> np.ndarray:
    """(5, n) whole numbers with which the monomials at each of POINTS give `values`, (6, n) int64.

    ValueError: there are none, because a part is something else than a sum of multiples of the monomials.
    """
    matrix = np.array([monomials(*point) for point in POINTS])
    found = np.rint(np.linalg.solve(matrix[:5].astype(float), values[:5].astype(float))).astype(np.int64)
    if (matrix @ found != values).any():
        raise ValueError("a part of the memory is no sum of whole multiples of 1, T, B T, B T^2 and min(B T, chunk)")
    return found


def forms(models: Mapping[str, GPTConfig]) -> dict[str, object]:
    """What the page needs to predict any of the models with any switches.

    return  moments: for each of 16 settings of the switches (in the order of `switches`), ";" between moments, "|"
            between settings: the phase, then pairs of a slot (5 part + monomial) and a place in `numbers`
            numbers: a row per model, the coefficients that occur in bytes
            weights, vocab, context: one number per model
    """
    found = [_model_forms(config) for config in models.values()]
    columns: dict[tuple[int, ...], int] = {}
    settings = []
    for setting, shapes in enumerate(found[0]):
        lines = []
        for i, (phase, _) in enumerate(shapes):
            line = [PHASES.index(phase)]
            for slot in range(20):
                column = tuple(model[setting][i][1][slot] for model in found)
                if any(column):
                    line += [slot, columns.setdefault(column, len(columns))]
            lines.append(",".join(map(str, line)))
        settings.append(";".join(lines))
    return {
        "moments": "|".join(settings),
        "numbers": [list(row) for row in zip(*columns, strict=True)],
        "weights": [Memory(_run(config, 1, 1)).weights_bytes for config in models.values()],
        "vocab": [config.vocab_size for config in models.values()],
        "context": [config.context_length for config in models.values()],
    }


def switches() -> Iterable[dict[str, object]]:
    """half precision + 2 fused + 4 checkpointing + 8 chunked counts them."""
    for chunked, gradient_checkpointing, fused, half in product((False, True), repeat=4):
        yield {
            "precision": "bfloat16" if half else "float32",
            "fused_attention": fused,
            "gradient_checkpointing": gradient_checkpointing,
            "chunked_loss": chunked,
        }


@lru_cache(maxsize=32)
def _model_forms(config: GPTConfig) -> list[list[tuple[str, tuple[int, ...]]]]:
    """Setting -> moment -> (phase, coefficients by slot)."""
    at_points = [[moments(_run(config, B, T, **switch)) for switch in switches()] for B, T in POINTS]
    flat = [[getattr(m, part) for setting in point for m in setting for part in PARTS] for point in at_points]
    found = iter(coefficients(np.array(flat, dtype=np.int64)).T.tolist())
    return [
        [(moment.phase, tuple(number for _ in PARTS for number in next(found))) for moment in setting]
        for setting in at_points[0]
    ]


def _run(config: GPTConfig, B: int, T: int, **switch: object) -> Run:
    given = {
        "precision": "float32",
        "fused_attention": True,
        "gradient_checkpointing": False,
        "chunked_loss": True,
    } | switch
    return Run(config=config, batch_size=B, context_length=T, device="cuda", **given)

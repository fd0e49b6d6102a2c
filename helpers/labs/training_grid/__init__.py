"""Rate, warm-up and batch size: the toy model of notebook 04 trained at every combination, on equally many tokens.

`python -m helpers.labs.training_grid` makes the record, or goes on with one that was interrupted. A run takes seconds.
"""

import itertools
import math
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helpers.gpt import GPT, Batches, Evaluation, GPTConfig, NonFiniteError, TrainConfig, Trainer, scoring_batches
from helpers.labs import texts
from helpers.labs.recorded import FOLDER, Recorded

RECORD = FOLDER / "training_grid_cpu.json"
AXES = {
    "learning_rate": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "warmup": (0.0, 0.1, 0.3),  # share of the updates
    "batch_size": (4, 16, 64),
    "seed": (0, 1, 2),  # of the weights and of the order of the windows
}
N_TOKENS = 122_880  # that every run is trained on, each seen once
N_EVALUATIONS = 10  # besides the one before the first update
CONTEXT, N_VALIDATION = 32, 6_400


def _model_config() -> GPTConfig:
    """The toy model of notebook 04."""
    V = texts.toy_language().vocab_size
    return GPTConfig(V, context_length=CONTEXT, emb_dim=32, n_heads=4, n_layers=2, drop_rate=0.0)


def train_once(
    learning_rate: float, warmup: float, batch_size: int, seed: int, n_tokens: int = N_TOKENS
) -> list[float]:
    """Validation losses in nats at even distances of tokens, the first one before training.

    Fewer than N_EVALUATIONS + 1 where the run was stopped by a loss or a gradient that was not finite.
    """
    n_steps = n_tokens // (batch_size * CONTEXT)
    learnt, held_out = _text(n_tokens + 1, seed=0), _text(N_VALIDATION, seed=1)
    torch.manual_seed(seed)
    config = TrainConfig(n_steps, learning_rate, round(warmup * n_steps), eval_every=n_steps // N_EVALUATIONS)
    batches = Batches(learnt, CONTEXT, batch_size, seed=seed)
    trainer = Trainer(GPT(_model_config()), batches, config, lambda: scoring_batches(held_out, CONTEXT, batch_size=100))
    losses = []
    with suppress(NonFiniteError):
        for record in trainer:
            if not math.isfinite(record.loss_nats):
                break
            if isinstance(record, Evaluation):
                losses.append(round(record.loss_nats, 4))
    return losses


@cache
def _text(n_tokens: int, seed: int) -> Tensor:
    return torch.tensor(texts.toy_language().ids(n_tokens, seed))


def _protocol() -> dict[str, Any]:
    """What all runs have in common, and the axes of the grid."""
    language, model = texts.toy_language(), GPT(_model_config())
    return {
        "axes": {name: list(values) for name, values in AXES.items()},
        "n_tokens": N_TOKENS,
        "n_evaluations": N_EVALUATIONS,
        "n_validation": N_VALIDATION,
        "context_length": CONTEXT,
        "n_weights": model.n_params,
        "ln_V": round(math.log(language.vocab_size), 4),
        "bigram_nats": round(language.bigram_entropy(), 4),
    }


def record(path: Path = RECORD) -> None:
    """Make every run that `path` does not have yet. ValueError: the file is of other runs."""
    settings = itertools.product(*AXES.values())
    _RECORDED.fill(path, settings, lambda setting: {"setting": list(setting), "losses": train_once(*setting)})


# runs of a setting, in the order of AXES, and losses
KIND = "rates, warm-ups and batch sizes of the toy model"
_RECORDED = Recorded("training_grid", RECORD, KIND, _protocol, ("losses",))
read = _RECORDED.read

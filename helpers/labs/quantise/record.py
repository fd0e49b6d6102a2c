"""The record of notebook 11: two models at 3 to 8 bits a weight, one kind of matrix at a time and all together."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import torch

from helpers.gpt import GPT, tokenizer
from helpers.labs import pretrained, texts
from helpers.labs.metrics import block_bootstrap
from helpers.labs.quantise.model import KINDS, quantised_copy, relative_error, size_bytes, surprisals
from helpers.labs.recorded import FOLDER, Recorded
from helpers.storage import weights

RECORD = FOLDER / "quantisation_cpu.json"
AXES = {"model": ("course", "smollm2-135m"), "part": (*KINDS, "all"), "n_bits": (8, 6, 5, 4, 3)}
N_SCORED, CONTEXTS = 2048, {"course": 128, "smollm2-135m": 1024}  # the beginning of the English story
BLOCK_TOKENS = 64  # of the bootstrap: about four sentences


def measure(name: str, part: str, n_bits: int) -> dict[str, float]:
    """One point: the mean loss as loaded and after rounding, their difference with its 95 % interval, error, megabytes.

    The difference is taken token by token, so that what makes a token hard drops out of the error bar.
    FileNotFoundError: the published model was not fetched.
    """
    model, before = _loaded(name)
    bits = dict.fromkeys(KINDS if part == "all" else (part,), n_bits)
    changed = quantised_copy(model, bits)
    more = block_bootstrap(_losses(name, changed) - before, BLOCK_TOKENS)
    numbers = {"loss_nats": float(before.double().mean()), "more": more.mean, "low": more.low, "high": more.high}
    numbers |= {"error": relative_error(model, changed), "megabytes": size_bytes(model, bits) / 1e6}
    return {key: float(f"{value:.5g}") for key, value in numbers.items()}


@cache
def _loaded(name: str) -> tuple[GPT, torch.Tensor]:
    """The model as it is, and the surprisal of each token under it."""
    model = pretrained.load() if name == "course" else weights.load(_folder(name))
    return model, _losses(name, model)


def _folder(name: str) -> Path:
    if (folder := weights.find(name)) is None:
        raise FileNotFoundError(f"{name} is not here: python -m helpers.storage.weights {name} fetches it once")
    return folder


def _losses(name: str, model: GPT) -> torch.Tensor:
    encoding = tokenizer.gpt2() if name == "course" else weights.read_tokenizer(_folder(name))
    return surprisals(model, torch.tensor(encoding.encode(texts.story())[: N_SCORED + 1]), CONTEXTS[name])


def protocol() -> dict[str, Any]:
    """What all points have in common, and the axes of the grid."""
    axes = {name: list(values) for name, values in AXES.items()}
    text = "English story, its first tokens after the first, neighbouring windows"
    return {"axes": axes, "text": text, "n_scored": N_SCORED, "contexts": CONTEXTS, "bootstrap_block": BLOCK_TOKENS}


def record(path: Path = RECORD) -> None:
    """Measure every point that `path` does not have yet.

    ValueError: the file is of other runs. FileNotFoundError: the published model was not fetched.
    """
    settings = itertools.product(*AXES.values())
    _RECORDED.fill(path, settings, lambda setting: {"setting": list(setting), **measure(*setting)})


# runs of a setting, in the order of AXES, and what `measure` gives
_RECORDED = Recorded("quantise", RECORD, "two models whose weights are rounded", protocol)
read = _RECORDED.read

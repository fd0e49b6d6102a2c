"""The record of notebook 11: two models at 3 to 8 bits a weight, one kind of matrix at a time and all together."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from helpers.gpt import GPT, tokenizer
from helpers.labs import pretrained, texts
from helpers.labs.metrics import block_bootstrap
from helpers.labs.quantise.model import KINDS, quantised_copy, relative_error, size_bytes, surprisals
from helpers.labs.speed import machine
from helpers.storage import weights, write_aside

RECORD = Path(__file__).parents[3] / "notebooks" / "data" / "quantisation_cpu.json"
KIND = "two models whose weights are rounded"
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
    """Measure every point that `path` does not have yet, and store each at once.

    ValueError: the file is of another grid.
    """
    content = {"kind": KIND, "date": None, "machine": None, "protocol": protocol(), "runs": []}
    if path.exists() and (content := read(path))["protocol"] != protocol():
        raise ValueError(f"{path} holds another grid: move it away, or go on with the course that made it")
    done = {tuple(run["setting"]) for run in content["runs"]}
    todo = [setting for setting in itertools.product(*AXES.values()) if setting not in done]
    for n, setting in enumerate(todo, 1):
        content["runs"].append({"setting": list(setting), **measure(*setting)})
        content |= {"date": datetime.now(UTC).date().isoformat(), "machine": machine.facts("cpu")}
        with write_aside(path) as file:
            file.write(_as_text(content).encode())
        print(f"{n} of {len(todo)}: {content['runs'][-1]}", flush=True)


def read(path: Path = RECORD) -> dict[str, Any]:
    """What `record` stored: kind, date, machine, protocol, and runs of a setting (in the order of AXES) and numbers.

    FileNotFoundError: nothing there. ValueError: no JSON, a file of another kind, or a damaged one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = set(itertools.product(*content["protocol"]["axes"].values()))
        whole = all(tuple(run["setting"]) in known and run["low"] <= run["high"] for run in content["runs"])
        if content["kind"] != KIND or not whole:
            raise ValueError(f"kind {content['kind']!r}, runs of its grid: {whole}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path.name} is no record that helpers.labs.quantise made, or a damaged one ({error!r}): take another "
            "copy, or make it again"
        ) from error
    return content


def _as_text(content: dict[str, Any]) -> str:
    """JSON with a run a line."""
    runs = ",\n  ".join(json.dumps(run) for run in content["runs"])
    head = json.dumps({name: part for name, part in content.items() if name != "runs"}, indent=1)
    return f'{head[:-2]},\n "runs": [\n  {runs}\n ]\n}}\n'

"""The sweep: which runs are made, in which order, at which rate; and the record that they leave."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from helpers.gpt import require_known
from helpers.labs.recorded import FOLDER, Recorded
from helpers.labs.scaling.runs import (
    BATCH_DOCUMENTS,
    MIN_LR_RATIO,
    N_VALIDATION,
    SIZES,
    WARMUP_SHARE,
    n_block_params,
    train_once,
)
from helpers.labs.scaling.source import Source, authors, toy_documents

RECORD = FOLDER / "scaling_cpu.json"
TOKENS = (20_000, 62_000, 200_000, 620_000, 2_000_000, 6_200_000, 20_000_000)
MOST_TOKENS = {"8": 20_000_000, "16": 6_200_000, "32": 6_200_000, "64": 6_200_000, "96": 2_000_000, "128": 2_000_000}
SEEDS = (0, 1)
SEARCH_TOKENS = {size: (62_000, 620_000 if shape[0] <= 64 else 200_000) for size, shape in SIZES.items()}
SEARCH_SEED = 9  # that no other run has
RATES = tuple(0.001 * 2**i for i in range(7))  # 0.001 to 0.064, tried upwards or downwards from FIRST_RATE
FIRST_RATE = {"8": 4, "16": 4, "32": 3, "64": 3, "96": 2, "128": 2}  # where the search begins: a place in RATES
REPEATED = {"size": "32", "n_tokens": 620_000, "epochs": (2, 4, 8, 16), "seeds": (0, 1, 2)}
TOY = {"sizes": ("8", "16", "32"), "tokens": (20_000, 62_000, 200_000, 620_000, 2_000_000)}


class Setting(NamedTuple):
    """What makes a run: two runs of one setting are the same run."""

    source: str  # "authors" or "toy"
    size: str  # a name in SIZES
    n_tokens: int
    seed: int
    epochs: int = 1


def protocol() -> dict[str, Any]:
    """What all runs have in common."""
    entropy, bigram = _drawn_lines()
    return {
        "sizes": {name: [*shape, n_block_params(*shape)] for name, shape in SIZES.items()},
        "search_tokens": {size: list(searched) for size, searched in SEARCH_TOKENS.items()},
        "search_seed": SEARCH_SEED,
        "batch_documents": [[most if math.isfinite(most) else None, size] for most, size in BATCH_DOCUMENTS],
        "warmup_share": WARMUP_SHARE,
        "min_lr_ratio": MIN_LR_RATIO,
        "n_validation_words": N_VALIDATION * (authors().n_tokens - 1),
        "entropy_rate_nats": entropy,
        "bigram_nats": bigram,
    }


@cache
def _drawn_lines() -> tuple[float, float]:
    """The source's entropy and its best bigram's, which take seconds."""
    return round(authors().entropy_rate(), 5), round(authors().bigram_entropy(), 5)


def settings(sizes: Sequence[str] = tuple(SIZES)) -> list[Setting]:
    """All runs of the sweep, the cheapest first; a seed after the first counts as four times as dear."""
    grid = [Setting("authors", s, D, seed) for seed in SEEDS for s in sizes for D in TOKENS if MOST_TOKENS[s] >= D]
    toy = [Setting("toy", s, D, 0) for s in TOY["sizes"] if s in sizes for D in TOY["tokens"]]
    again = [
        Setting("authors", REPEATED["size"], REPEATED["n_tokens"], seed, epochs)
        for seed in REPEATED["seeds"]
        for epochs in (1, *REPEATED["epochs"])
        if REPEATED["size"] in sizes
    ]
    todo = dict.fromkeys([*grid, *again, *toy])  # each once
    return sorted(todo, key=lambda s: n_block_params(*SIZES[s.size]) ** 0.5 * s.n_tokens * (4 if s.seed else 1))


def record(path: Path = RECORD, sizes: Sequence[str] = tuple(SIZES)) -> None:
    """Make every run that `path` does not have yet; several processes may share a file.

    ValueError: the file is of another sweep, or an unknown size.
    """
    require_known("size", sizes, SIZES)
    for size in sizes:
        for n_tokens in SEARCH_TOKENS[size]:
            _search(path, size, n_tokens)

    def run_of(setting: Setting) -> dict[str, Any]:
        return make(setting, best_rate(_RECORDED.open(path), setting.size, setting.n_tokens))

    _RECORDED.fill(path, settings(sizes), run_of)


def make(setting: Setting, rate: float) -> dict[str, Any]:
    """Train once; what the record keeps of it."""
    source: Source = authors() if setting.source == "authors" else toy_documents()
    result = train_once(source, *SIZES[setting.size], setting.n_tokens, rate, setting.seed, setting.epochs)
    measured = {"excess": round(result.excess, 5), "error": round(result.error, 5), "seconds": round(result.seconds, 1)}
    return setting._asdict() | {"rate": rate} | measured


def best_rate(content: dict[str, Any], size: str, n_tokens: float) -> float:
    """The best rate of the search for a size: between the two token counts searched, and beyond them, on a straight
    line in the logs that stops at the ends. ValueError: the search of that size is not done."""
    logs = []
    for searched in SEARCH_TOKENS[size]:
        tries = [t for t in content["search"] if (t["size"], t["n_tokens"]) == (size, searched)]
        if not tries:
            raise ValueError(f"no search for size {size} at {searched} tokens in the record")
        logs.append(math.log(min(tries, key=lambda t: t["excess"])["rate"]))
    low, high = map(math.log, SEARCH_TOKENS[size])
    share = min(max((math.log(n_tokens) - low) / (high - low), 0.0), 1.0)
    return round(math.exp(logs[0] + share * (logs[1] - logs[0])), 6)


def _search(path: Path, size: str, n_tokens: int) -> None:
    """Try rates, neighbours of the best so far, until both its neighbours are worse."""
    while True:
        tries = [t for t in _RECORDED.open(path)["search"] if (t["size"], t["n_tokens"]) == (size, n_tokens)]
        place = FIRST_RATE[size]
        if tries:
            place = RATES.index(min(tries, key=lambda t: t["excess"])["rate"])
        tried = {t["rate"] for t in tries}
        missing = [i for i in (place, place + 1, place - 1) if 0 <= i < len(RATES) and RATES[i] not in tried]
        if not missing:
            return
        _RECORDED.add(path, make(Setting("authors", size, n_tokens, SEARCH_SEED), RATES[missing[0]]), "search")


def verify(n_runs: int, path: Path = RECORD) -> bool:
    """Make `n_runs` of the record's runs again, drawn at random, and say whether each lands within two error bars."""
    inside = []
    for run in random.Random(0).sample(read(path)["runs"], n_runs):
        setting = Setting(*(run[name] for name in Setting._fields))
        again = make(setting, run["rate"])
        inside.append(abs(again["excess"] - run["excess"]) <= 2 * run["error"])
        print(f"{setting}: {run['excess']} +- {run['error']}, again {again['excess']}", flush=True)
    print(f"{sum(inside)} of {n_runs} runs within two error bars")
    return all(inside)


KIND = "sizes and token counts on a mixture of authors"
_RECORDED = Recorded("scaling", RECORD, KIND, protocol, Setting._fields, ("search", "runs"))
read = _RECORDED.read

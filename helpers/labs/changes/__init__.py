"""Which of the changes since GPT-2 matters here? Each alone, on the source of notebook 10. Notebook 11.

`python -m helpers.labs.changes` makes the record, or goes on with one that was interrupted: about ten minutes of one
processor core.
"""

import itertools
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import torch

from helpers.gpt import GPT, GPTConfig
from helpers.labs import scaling
from helpers.labs.budget import matmul_flops_per_token, parameter_count
from helpers.labs.recorded import FOLDER, Recorded

RECORD = FOLDER / "changes_cpu.json"
BASE = "GPT-2's parts"
CHANGES: dict[str, dict[str, Any]] = {
    BASE: {},
    "RMSNorm": {"norm": "rmsnorm"},
    "rotary positions": {"positions": "rotary"},
    "SwiGLU": {"feed_forward": "swiglu"},
    "grouped heads": {"n_kv_heads": 2},
    "no biases": {"qkv_bias": False, "linear_bias": False},
}
CHANGES["all five"] = {name: value for change in CHANGES.values() for name, value in change.items()}
MATCHED = {  # what is held equal -> how it is counted
    "parameters": lambda config: parameter_count(config)["total"],
    "FLOPs": matmul_flops_per_token,
}
EMB_DIM, N_HEADS, N_LAYERS = 48, 6, 2
N_TOKENS, SEEDS = 150_000, (0, 1, 2, 3, 4)
RATES, SEARCH_SEED = (0.004, 0.008, 0.016), 9  # each change at the best of these, found with a seed of its own
READ_ON, N_TIMES, N_LONG = (BASE, "rotary positions"), 4, 2_000  # documents of so many times the trained length


class Setting(NamedTuple):
    """What makes a run: two runs of one setting are the same run."""

    change: str  # a name in CHANGES
    matched: str  # a name in MATCHED
    seed: int  # of the weights and of the documents


class Difference(NamedTuple):
    """What a change does to the excess, in nats per word: below 0 it helps."""

    mean: float
    half_width: float  # of the 95 % interval of the mean over seeds, from Student's t
    n_seeds: int
    n_lower: int  # seeds in which the change lowers it


@cache
def config_of(change: str, matched: str = "parameters") -> GPTConfig:
    """The model with one change, its feed-forward layer so wide that parameters or FLOPs are nearest the base's.

    ValueError: a name that is not in CHANGES or MATCHED.
    """
    if change not in CHANGES or matched not in MATCHED:
        raise ValueError(f"expected one of {', '.join(CHANGES)}, and of {', '.join(MATCHED)}, got {change}, {matched}")
    source, count = scaling.authors(), MATCHED[matched]
    base = GPTConfig(source.vocab_size, source.n_tokens - 1, EMB_DIM, N_HEADS, N_LAYERS, drop_rate=0.0, tied_head=False)
    widths = (replace(base, **CHANGES[change], ff_dim=width) for width in range(1, 2 * base.hidden_ff_dim))
    return min(widths, key=lambda config: abs(count(config) - count(base)))


def make(setting: Setting, rate: float) -> tuple[dict[str, Any], GPT]:
    """Train once: what the record keeps of it, and the model."""
    source, config = scaling.authors(), config_of(setting.change, setting.matched)
    result = scaling.train(scaling.initialised(config, setting.seed), source, N_TOKENS, rate, setting.seed)
    counted = {name: count(config) for name, count in MATCHED.items()} | {"ff_dim": config.hidden_ff_dim}
    return setting._asdict() | {"rate": rate} | counted | result.recorded(), result.model


def excess_by_position(model: GPT, n_words: int, n_documents: int = N_LONG) -> list[float]:
    """What the model loses above the source at each of the first `n_words` words of a document, in nats.

    It may be more words than the model was trained with: rotary positions go on, and a learned position without
    training is a random row, as it was before the first update.
    ValueError: fewer words than two.
    """
    source, trained = scaling.authors(), model.state_dict()
    documents = replace(source, n_tokens=n_words + 1).sample(n_documents, seed=2 * 10**6)
    longer = scaling.initialised(replace(model.config, context_length=n_words), seed=0)
    if model.config.positions == "learned":
        rows = longer.position_embedding.weight[model.config.context_length :]
        trained["position_embedding.weight"] = torch.cat([trained["position_embedding.weight"], rows])
    longer.load_state_dict(trained)
    means = scaling.word_excess(longer, source, scaling.Documents(*map(torch.from_numpy, documents))).mean(0)
    return [round(mean, 3) for mean in means.tolist()]


def differences(content: dict[str, Any], matched: str) -> dict[str, Difference]:
    """Change -> what it does to the excess, each run paired with the base's of the same seed.

    ValueError: fewer than two seeds.
    """
    runs = [run for run in content["runs"] if run["matched"] == matched]
    excess = {(run["change"], run["seed"]): run["excess"] for run in runs}
    found = {}
    for change in [name for name in CHANGES if name != BASE]:
        seeds = [seed for seed in SEEDS if {(change, seed), (BASE, seed)} <= excess.keys()]
        if len(seeds) < 2:
            raise ValueError(f"{change}, equal {matched}: an error bar needs two seeds or more, got {len(seeds)}")
        pairs = np.array([excess[change, seed] - excess[BASE, seed] for seed in seeds])
        half_width = scipy.stats.t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / math.sqrt(len(pairs))
        found[change] = Difference(float(pairs.mean()), float(half_width), len(pairs), int((pairs < 0).sum()))
    return found


@cache  # counting the entropies takes a second
def _protocol() -> dict[str, Any]:
    """What all runs have in common."""
    source = scaling.authors()
    return {
        "model": {"emb_dim": EMB_DIM, "n_heads": N_HEADS, "n_layers": N_LAYERS},
        "n_tokens": N_TOKENS,
        "rates": list(RATES),
        "search_seed": SEARCH_SEED,
        "words_trained_on": source.n_tokens - 1,
        "n_long_documents": N_LONG,
        "entropy_rate_nats": round(source.entropy_rate(), 5),
        "bigram_nats": round(source.bigram_entropy(), 5),
    }


def record(path: Path = RECORD) -> None:
    """Make every run that `path` does not have yet, and store each at once. ValueError: the file is of other runs."""
    searched = {(run["change"], run["rate"]) for run in _RECORDED.open(path)["search"]}
    for change, rate in itertools.product(CHANGES, RATES):
        if (change, rate) not in searched:
            _RECORDED.add(path, make(Setting(change, "parameters", SEARCH_SEED), rate)[0], "search")
    settings = [Setting(change, matched, seed) for seed in SEEDS for change in CHANGES for matched in MATCHED]
    _RECORDED.fill(path, settings, lambda setting: _run_of(setting, _RECORDED.open(path)))


def _run_of(setting: Setting, content: dict[str, Any]) -> dict[str, Any]:
    same = [run for run in content["runs"] if (run["change"], run["seed"]) == (setting.change, setting.seed)]
    if same and same[0]["ff_dim"] == config_of(setting.change, setting.matched).hidden_ff_dim:
        # parameters and FLOPs ask for the same model
        return {k: v for k, v in same[0].items() if k != "by_position"} | setting._asdict()
    run, model = make(setting, best_rate(content, setting.change))
    if setting.matched == "parameters" and setting.change in READ_ON:
        run["by_position"] = excess_by_position(model, N_TIMES * (scaling.authors().n_tokens - 1))
    return run


def best_rate(content: dict[str, Any], change: str) -> float:
    """The best rate of the search for a change. ValueError: the search is not done."""
    tries = [run for run in content["search"] if run["change"] == change]
    if len(tries) < len(RATES):
        raise ValueError(f"the record has {len(tries)} of {len(RATES)} rates for {change!r}: make it first")
    return min(tries, key=lambda run: run["excess"])["rate"]


KIND = "changes since GPT-2, each alone, on a mixture of authors"
MEASURED = ("rate", "parameters", "FLOPs", "ff_dim", "excess", "error", "seconds")
_RECORDED = Recorded("changes", RECORD, KIND, _protocol, MEASURED, Setting.__annotations__, ("search", "runs"))
read = _RECORDED.read

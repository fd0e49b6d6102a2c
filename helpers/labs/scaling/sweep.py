"""The sweep: one training run and what is left above the source's entropy; which runs are made; their record."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from helpers.gpt import (
    GPT,
    GPTConfig,
    TrainConfig,
    Trainer,
    evaluating,
    loss_from_hidden,
    require_known,
    require_whole,
    token_losses,
)
from helpers.labs.recorded import FOLDER, Recorded
from helpers.labs.scaling.source import Documents, Source, authors, toy_documents

# of the sweep: name -> (emb_dim, n_layers)
SIZES = {"8": (8, 2), "16": (16, 2), "32": (32, 2), "64": (64, 2), "96": (96, 3), "128": (128, 3)}
# up to so many tokens: documents per update, few where there are few tokens, so that there are enough updates
BATCH_DOCUMENTS = ((150_000, 8), (1_000_000, 16), (3_000_000, 32), (math.inf, 64))
WARMUP_SHARE, MIN_LR_RATIO = 0.05, 0.05  # of every run's schedule
N_VALIDATION = 5_000  # documents, 155,000 words, the same for all runs
VALIDATION_SEED, TRAINING_SEED = 10**6, 10**6 + 1  # of the documents; a run's own seed is added to the second
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


class Result(NamedTuple):
    """A trained model and what it loses above the true loss of the same tokens, in nats per word."""

    model: GPT
    excess: float
    error: float  # standard error of the excess, from the spread between documents
    seconds: float  # of the processor, training alone

    def recorded(self) -> dict[str, float]:
        """What a record keeps of it."""
        return {"excess": round(self.excess, 5), "error": round(self.error, 5), "seconds": round(self.seconds, 1)}


def model(source: Source, emb_dim: int, n_layers: int, seed: int = 0) -> GPT:
    """A GPT for the documents of `source`, randomly initialised at one scale for all widths.

    GPT-2's weights of standard deviation 0.02 suit a width of 768; at 16 they are so small that training spends its
    first thousand updates on making them larger. Here embeddings have 1 (positions 0.5), and a matrix 1 / sqrt(inputs),
    so that what goes in with size 1 comes out with size 1; what is added to the stream is shrunk by the depth.

    ValueError: sizes that GPTConfig refuses.
    Source: Glorot & Bengio 2010; Radford et al. 2019 (GPT-2), section 2.3, for the depth.
    """
    n_heads = max(emb_dim // 16, 2) if emb_dim < 128 else 4
    context = source.n_tokens - 1  # the last token of a document is only a target
    return initialised(
        GPTConfig(source.vocab_size, context, emb_dim, n_heads, n_layers, drop_rate=0.0, tied_head=False), seed
    )


def initialised(config: GPTConfig, seed: int) -> GPT:
    """Any GPT with an untied head, randomly initialised as `model` says."""
    generator = torch.Generator().manual_seed(seed)
    gpt = GPT(config)
    with torch.no_grad():
        gpt.token_embedding.weight.normal_(std=1.0, generator=generator)
        if config.positions == "learned":
            gpt.position_embedding.weight.normal_(std=0.5, generator=generator)
        gpt.head.weight.normal_(std=0.02, generator=generator)
        for block in gpt.blocks:
            gate = [block.feed_forward.gate] if block.feed_forward.gate else []
            for layer in (block.attention.qkv, block.feed_forward.expand, *gate):
                layer.weight.normal_(std=layer.in_features**-0.5, generator=generator)
            for layer in (block.attention.out_proj, block.feed_forward.out_proj):
                layer.weight.normal_(std=(layer.in_features * 2 * config.n_layers) ** -0.5, generator=generator)
    return gpt


def _n_block_params(emb_dim: int, n_layers: int) -> int:
    """N: the weights of the blocks, embeddings and head not counted, as Kaplan et al. 2020 count."""
    return n_layers * (12 * emb_dim**2 + 13 * emb_dim)


class WordTrainer(Trainer):
    """A Trainer whose model scores words only: a name is never next, and its row of the head is left out."""

    n_words: int

    def _summed_loss(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        return loss_from_hidden(self.model.hidden(token_ids), self.model.head.weight[: self.n_words], targets)


def train_once(
    source: Source, emb_dim: int, n_layers: int, n_tokens: float, learning_rate: float, seed: int = 0, epochs: int = 1
) -> Result:
    """Train a model on `n_tokens` words of `source`, in as many fresh documents as make them in `epochs` passes.

    ValueError: too few tokens for a batch, or sizes out of range.
    """
    return train(model(source, emb_dim, n_layers, seed), source, n_tokens, learning_rate, seed, epochs)


def train(gpt: GPT, source: Source, n_tokens: float, learning_rate: float, seed: int = 0, epochs: int = 1) -> Result:
    """As `train_once`, for a model of any kind."""
    require_whole(epochs=epochs)
    size = next(size for most, size in BATCH_DOCUMENTS if n_tokens <= most)
    per_document = source.n_tokens - 1
    n_steps = round(n_tokens / per_document / size)
    n_documents = n_steps // epochs * size
    require_whole(n_documents=n_documents)
    token_ids = torch.from_numpy(source.sample(n_documents, TRAINING_SEED + seed).token_ids)
    config = TrainConfig(
        n_steps, learning_rate, round(WARMUP_SHARE * n_steps), MIN_LR_RATIO, weight_decay=0.0, betas=(0.9, 0.95)
    )
    batches = list(islice(_batches(token_ids, size), n_steps))
    trainer = WordTrainer(gpt, batches, config)
    trainer.n_words = source.n_words
    start = time.process_time()
    for _ in trainer:
        pass
    seconds = time.process_time() - start
    return Result(gpt, *excess(gpt, source), seconds)


def _batches(token_ids: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(n, T) documents in batches without end: a document a row, without padding, in another order each epoch."""
    for epoch in count():
        order = torch.randperm(len(token_ids), generator=torch.Generator().manual_seed(epoch))
        for rows in token_ids[order].split(batch_size):
            yield rows[:, :-1], rows[:, 1:]


def excess(gpt: GPT, source: Source) -> tuple[float, float]:
    """(mean, standard error): what the model loses above the source's own loss on the validation documents."""
    differences = word_excess(gpt, source, validation(source)).mean(1)
    return differences.mean().item(), (differences.std() / len(differences) ** 0.5).item()


@torch.no_grad()
def word_excess(gpt: GPT, source: Source, documents: Documents) -> Tensor:
    """The same for each word of some documents, whose parts are tensors: (n, T - 1) float64."""
    found = []
    with evaluating(gpt):
        for rows, true_nll in zip(documents.token_ids.split(300), documents.true_nll.split(300), strict=True):
            logits = gpt.hidden(rows[:, :-1]) @ gpt.head.weight[: source.n_words].T
            found.append(token_losses(logits, rows[:, 1:]).double() - true_nll[:, 1:])
    return torch.cat(found)


@cache
def validation(source: Source) -> Any:
    token_ids, true_nll = source.sample(N_VALIDATION, VALIDATION_SEED)
    return Documents(torch.from_numpy(token_ids), torch.from_numpy(true_nll))


class Setting(NamedTuple):
    """What makes a run: two runs of one setting are the same run."""

    source: str  # "authors" or "toy"
    size: str  # a name in SIZES
    n_tokens: int
    seed: int
    epochs: int = 1


def _protocol() -> dict[str, Any]:
    """What all runs have in common."""
    entropy, bigram = _drawn_lines()
    return {
        "sizes": {name: [*shape, _n_block_params(*shape)] for name, shape in SIZES.items()},
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


def _settings(sizes: Sequence[str] = tuple(SIZES)) -> list[Setting]:
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
    return sorted(todo, key=lambda s: _n_block_params(*SIZES[s.size]) ** 0.5 * s.n_tokens * (4 if s.seed else 1))


def record(path: Path = RECORD, sizes: Sequence[str] = tuple(SIZES)) -> None:
    """Make every run that `path` does not have yet; several processes may share a file.

    ValueError: the file is of another sweep, or an unknown size.
    """
    require_known("size", sizes, SIZES)
    for size in sizes:
        for n_tokens in SEARCH_TOKENS[size]:
            _search(path, size, n_tokens)

    def run_of(setting: Setting) -> dict[str, Any]:
        return _make(setting, best_rate(_RECORDED.open(path), setting.size, setting.n_tokens))

    _RECORDED.fill(path, _settings(sizes), run_of)


def _make(setting: Setting, rate: float) -> dict[str, Any]:
    """Train once; what the record keeps of it."""
    source: Source = authors() if setting.source == "authors" else toy_documents()
    result = train_once(source, *SIZES[setting.size], setting.n_tokens, rate, setting.seed, setting.epochs)
    return setting._asdict() | {"rate": rate} | result.recorded()


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
        _RECORDED.add(path, _make(Setting("authors", size, n_tokens, SEARCH_SEED), RATES[missing[0]]), "search")


def verify(n_runs: int, path: Path = RECORD) -> bool:
    """Make `n_runs` of the record's runs again, drawn at random, and say whether each lands within two error bars."""
    inside = []
    for run in random.Random(0).sample(read(path)["runs"], n_runs):
        setting = Setting(*(run[name] for name in Setting._fields))
        again = _make(setting, run["rate"])
        inside.append(abs(again["excess"] - run["excess"]) <= 2 * run["error"])
        print(f"{setting}: {run['excess']} +- {run['error']}, again {again['excess']}", flush=True)
    print(f"{sum(inside)} of {n_runs} runs within two error bars")
    return all(inside)


KIND = "sizes and token counts on a mixture of authors"
MEASURED = ("epochs", "rate", "excess", "error", "seconds")
_RECORDED = Recorded("scaling", RECORD, KIND, _protocol, MEASURED, Setting.__annotations__, ("search", "runs"))
read = _RECORDED.read

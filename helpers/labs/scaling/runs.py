"""One training run of the sweep: a size, a number of tokens, a rate; and what is left above the source's entropy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.gpt import GPT, GPTConfig, TrainConfig, Trainer, evaluating, loss_from_hidden, require_whole, token_losses
from helpers.labs.scaling.source import Documents, Source

SIZES = {  # of the sweep: name -> (emb_dim, n_layers)
    "8": (8, 2),
    "16": (16, 2),
    "32": (32, 2),
    "64": (64, 2),
    "96": (96, 3),
    "128": (128, 3),
}
# up to so many tokens: documents per update
BATCH_DOCUMENTS = ((150_000, 8), (1_000_000, 16), (3_000_000, 32), (np.inf, 64))
WARMUP_SHARE, MIN_LR_RATIO = 0.05, 0.05  # of every run's schedule
N_VALIDATION = 5_000  # documents, 155,000 words, the same for all runs
VALIDATION_SEED, TRAINING_SEED = 10**6, 10**6 + 1  # of the documents; a run's own seed is added to the second


class Result(NamedTuple):
    """A trained model and what it loses above the true loss of the same tokens, in nats per word."""

    model: GPT
    excess: float
    error: float  # standard error of the excess, from the spread between documents
    seconds: float  # of the processor, training alone


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


def n_block_params(emb_dim: int, n_layers: int) -> int:
    """N: the weights of the blocks, embeddings and head not counted, as Kaplan et al. 2020 count."""
    return n_layers * (12 * emb_dim**2 + 13 * emb_dim)


class WordTrainer(Trainer):
    """A Trainer whose model scores words only: a name is never next, and its row of the head is left out."""

    n_words: int

    def _summed_loss(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        return loss_from_hidden(self.model.hidden(token_ids), self.model.head.weight[: self.n_words], targets)


def batch_size(n_tokens: float) -> int:
    """Documents per update: few where there are few tokens, so that there are enough updates."""
    return next(size for limit, size in BATCH_DOCUMENTS if n_tokens <= limit)


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
    size, per_document = batch_size(n_tokens), source.n_tokens - 1
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

"""What is compared: each variant builds a model and hands back a function that makes one update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from helpers.gpt import GPT, GPTConfig, TrainConfig, Trainer
from tools.bench.plain import LEARNING_RATE, WEIGHT_DECAY, PlainGPT, plain_optimizer, plain_step

Batch = tuple[Tensor, Tensor]
Step = Callable[[], float]  # makes one update and returns the mean loss in nats before it


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    name       as on the command line
    build      (config, batches, n_steps) -> (number of parameters, Step)
    precision  of the matrix products
    tied       whether the head is the token embedding
    says       what it is, in a line
    """

    name: str
    build: Callable[[GPTConfig, list[Batch], int], tuple[int, Step]]
    precision: str
    tied: bool
    says: str


def _plain(config: GPTConfig, batches: list[Batch], n_steps: int) -> tuple[int, Step]:
    model = PlainGPT(replace(config, tied_head=False)).to(batches[0][0].device).train()
    return _steps_of(model, batches, plain_step)


def _transformers(config: GPTConfig, batches: list[Batch], n_steps: int) -> tuple[int, Step]:
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.context_length,
        n_embd=config.emb_dim,
        n_head=config.n_heads,
        n_layer=config.n_layers,
        n_inner=config.hidden_ff_dim,
        embd_pdrop=config.drop_rate,
        attn_pdrop=config.drop_rate,
        resid_pdrop=config.drop_rate,
        layer_norm_epsilon=config.norm_eps,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    model = GPT2LMHeadModel(theirs).to(batches[0][0].device).train()
    return _steps_of(model, batches, _transformers_step)


def _transformers_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, token_ids: Tensor, targets: Tensor
) -> float:
    optimizer.zero_grad()
    loss = model(token_ids, labels=token_ids).loss  # shifts them itself, so that a row's last target is not scored
    loss.backward()
    optimizer.step()
    return loss.item()


def _steps_of(model: torch.nn.Module, batches: list[Batch], step: Callable[..., float]) -> tuple[int, Step]:
    optimizer = plain_optimizer(model)
    turn = iter(batches)
    return sum(p.numel() for p in model.parameters()), lambda: step(model, optimizer, *next(turn))


def _helpers(tied: bool, precision: str) -> Callable[[GPTConfig, list[Batch], int], tuple[int, Step]]:
    def build(config: GPTConfig, batches: list[Batch], n_steps: int) -> tuple[int, Step]:
        model = GPT(replace(config, tied_head=tied)).to(batches[0][0].device)
        updates = _updates(model, batches, n_steps, precision)
        return model.n_params, lambda: next(updates)

    return build


def _updates(model: GPT, batches: list[Batch], n_steps: int, precision: str) -> Iterator[float]:
    """The loss of each update of the course's own trainer, clipping and checks included."""
    config = TrainConfig(
        n_steps=n_steps, learning_rate=LEARNING_RATE, min_lr_ratio=1.0, weight_decay=WEIGHT_DECAY, precision=precision
    )
    return (update.loss_nats for update in Trainer(model, batches, config))


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("plain", _plain, "float32", False, "every formula spelled out, a loop over heads"),
        Variant("transformers", _transformers, "float32", True, "GPT2LMHeadModel with its default attention"),
        Variant("helpers-untied", _helpers(False, "float32"), "float32", False, "the course's Trainer"),
        Variant("helpers", _helpers(True, "float32"), "float32", True, "the course's Trainer"),
        Variant("helpers-untied-bf16", _helpers(False, "bfloat16"), "bfloat16", False, "the course's Trainer"),
        Variant("helpers-bf16", _helpers(True, "bfloat16"), "bfloat16", True, "the course's Trainer"),
    )
}

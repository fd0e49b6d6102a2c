"""What `make bench` compares, and the two jobs that measure it: training by one variant, generation by one variant.

A variant of training is (source, batches, precision) -> (a function that makes one update and returns its loss, the
model); of generation (source, precision) -> a function (prompt, n_new) -> (ids, bytes of its cache). `source` is the
GPT whose random weights all variants share.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.gpt import GPT, GPTConfig, TrainConfig, Trainer, evaluating, generate
from helpers.labs import speed
from helpers.storage import weights
from tools.bench import plain

Batch = tuple[Tensor, Tensor]
SEED, WARMUP_TOKENS = 0, 8
SCORED_TOKENS = 32  # of the first loss, which all variants must agree on: few, so that it takes no memory
# Fresh weights repeat the last token whatever the model computes. With positions and blocks so much larger,
# the text changes and looks at its past; larger still, rounding would decide it.
POSITIONS_TIMES, BLOCKS_TIMES = 8, 5


def _plain(source: GPT, batches: list[Batch], precision: str):
    model = plain.plain_gpt(source)
    return _steps(model, batches, plain.plain_optimizer, plain.plain_step), model


def _nanogpt(source: GPT, batches: list[Batch], precision: str, fused: bool | None = None):
    """fused: with the course's optimizer, so that what is left of the lead is the model's and the loss's."""
    model = plain.nano_gpt(source)
    return _steps(model, batches, partial(plain.nano_optimizer, fused=fused), plain.nano_step, precision), model


def _transformers(source: GPT, batches: list[Batch], precision: str):
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), source.config.drop_rate)
    model = _as_transformers(source, **rates)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, token_ids: Tensor, targets: Tensor) -> float:
        optimizer.zero_grad()
        loss = model(token_ids, labels=token_ids, use_cache=False).loss  # shifts them itself: one target fewer
        loss.backward()
        optimizer.step()
        return loss.item()

    return _steps(model, batches, plain.plain_optimizer, step), model


def _as_transformers(source: GPT, **changes: object) -> nn.Module:
    """transformers' GPT2LMHeadModel with the weights of `source`."""
    from transformers import GPT2LMHeadModel

    with tempfile.TemporaryDirectory() as folder:
        weights.save(source, folder)
        return GPT2LMHeadModel.from_pretrained(folder, **changes)


def _steps(model: nn.Module, batches: list[Batch], optimizer: Callable, step: Callable, *more: str):
    model.to(batches[0][0].device).train()
    optimizer, turn = optimizer(model), iter(batches)
    return lambda: step(model, optimizer, *next(turn), *more)


def _helpers(source: GPT, batches: list[Batch], precision: str):
    """The course's own trainer, clipping and checks included."""
    config = TrainConfig(len(batches), plain.LEARNING_RATE, min_lr_ratio=1.0, precision=precision)
    updates = iter(Trainer(source.to(batches[0][0].device), batches, config))
    return lambda: next(updates).loss_nats, source


def _untied(source: GPT, batches: list[Batch], precision: str):
    """The same with a head of its own, as the plain version has."""
    model = GPT(replace(source.config, tied_head=False))
    model.load_state_dict(source.state_dict())
    return _helpers(model, batches, precision)


TRAINING = {  # name -> (variant, precision of the matmuls)
    "plain": (_plain, "float32"),
    "nanogpt": (_nanogpt, "float32"),
    "nanogpt-fused": (partial(_nanogpt, fused=True), "float32"),
    "nanogpt-bf16": (_nanogpt, "bfloat16"),
    "transformers": (_transformers, "float32"),
    "helpers-untied": (_untied, "float32"),
    "helpers": (_helpers, "float32"),
    "helpers-bf16": (_helpers, "bfloat16"),
}


def train(variant: str, config: dict, batch_size: int, warmup: int, steps: int, device: str) -> dict:
    """tokens_per_s (median of the timed steps), peak_bytes since the imports, n_params, first_loss without dropout."""
    build, precision = TRAINING[variant]
    _require(variant, precision, device)
    torch.manual_seed(SEED)  # the same ids and weights for every variant
    at_rest = speed.machine.peak_bytes(device) if device == "cpu" else 0
    config = GPTConfig(**config)
    ids = torch.randint(config.vocab_size, (warmup + steps, batch_size, config.context_length + 1)).to(device)
    batches = [(rows[:, :-1], rows[:, 1:]) for rows in ids]
    step, model = build(GPT(replace(config, tied_head=True)), batches, precision)
    first_loss = _first_loss(model, batches[0])
    seconds = []
    for _ in batches:
        start = time.perf_counter()
        step()
        speed.machine.wait(device)
        seconds.append(time.perf_counter() - start)
    return {
        "tokens_per_s": batch_size * config.context_length / statistics.median(seconds[warmup:]),
        "peak_bytes": speed.machine.peak_bytes(device) - at_rest,
        "n_params": sum(p.numel() for p in model.parameters()),
        "first_loss": first_loss,
    }


@torch.no_grad()
def _first_loss(model: nn.Module, batch: Batch) -> float:
    token_ids, targets = (part[:1, :SCORED_TOKENS] for part in batch)
    with evaluating(model):
        found = model(token_ids)
    return F.cross_entropy(getattr(found, "logits", found)[0], targets[0]).item()


def _write_plain(source: GPT, precision: str):
    model = plain.plain_gpt(source).to(source.head.weight.device).eval()
    return lambda prompt, n_new: (plain.plain_loop(model, prompt, n_new), 0)


def _write_transformers(source: GPT, precision: str):
    model = _as_transformers(source).to(source.head.weight.device, getattr(torch, precision)).eval()
    settings = {"do_sample": False, "use_cache": True, "eos_token_id": None, "pad_token_id": 0}
    settings |= {"return_dict_in_generate": True}

    def write(prompt: Tensor, n_new: int) -> tuple[Tensor, int]:
        found = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=n_new, **settings)
        layers = found.past_key_values.layers
        return found.sequences, sum(part.nbytes for layer in layers for part in (layer.keys, layer.values))

    return write


def _write_helpers(source: GPT, precision: str):
    """With a cache, laid out by `speed.for_reading`."""
    model = speed.for_reading(source, getattr(torch, precision))

    def write(prompt: Tensor, n_new: int) -> tuple[Tensor, int]:
        text = generate(model, prompt, n_new, temperature=0)
        return text, model.new_cache(1, text.shape[1]).memory_bytes

    return write


GENERATION = {  # name -> (variant, precision of weights and activations)
    "plain": (_write_plain, "float32"),
    "transformers": (_write_transformers, "float32"),
    "transformers-bf16": (_write_transformers, "bfloat16"),
    "helpers": (_write_helpers, "float32"),
    "helpers-bf16": (_write_helpers, "bfloat16"),
}


def write(variant: str, config: dict, prompt_length: int, new_tokens: list[int], repeats: int, device: str) -> dict:
    """lengths: for each of new_tokens, as text, tokens_per_s (the prompt's reading included), tokens, cache_bytes."""
    build, precision = GENERATION[variant]
    _require(variant, precision, device)
    torch.manual_seed(SEED)  # the same weights and prompt for every variant
    source = lively(GPTConfig(**config)).to(device)
    prompt = torch.randint(source.config.vocab_size, (1, prompt_length)).to(device)
    write = build(source, precision)
    write(prompt, min(WARMUP_TOKENS, *new_tokens))
    lengths = {}
    for n_new in new_tokens:
        seconds = []
        for _ in range(1 if variant == "plain" else repeats):  # which has no cache
            start = time.perf_counter()
            text, cache_bytes = write(prompt, n_new)
            speed.machine.wait(device)
            seconds.append(time.perf_counter() - start)
        tokens = text[0, prompt_length:].tolist()
        if len(tokens) != n_new:
            raise ValueError(f"expected {n_new} new tokens, got {len(tokens)}")
        tokens_per_s = n_new / statistics.median(seconds)
        lengths[str(n_new)] = {"tokens_per_s": tokens_per_s, "tokens": tokens, "cache_bytes": cache_bytes}
    return {"lengths": lengths}


@torch.no_grad()
def lively(config: GPTConfig) -> GPT:
    """Random weights that make the model's tokens change, so that their equality says something."""
    model = GPT(config).eval()
    model.position_embedding.weight.mul_(POSITIONS_TIMES)
    for parameter in model.blocks.parameters():
        if parameter.ndim == 2:
            parameter.mul_(BLOCKS_TIMES)
    return model


def _require(variant: str, precision: str, device: str) -> None:
    """speed.harness.Skip: no bfloat16 here. transformers is imported before memory and time are looked at."""
    if precision == "bfloat16" and not speed.machine.multiplies_bfloat16(device):
        raise speed.harness.Skip("no bfloat16 instructions")
    if variant.startswith("transformers"):
        import transformers
        from transformers import GPT2LMHeadModel  # noqa: F401

        transformers.logging.set_verbosity_error()

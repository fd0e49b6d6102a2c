"""What is compared when a text is written: each variant hands back a function that continues a prompt greedily."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from helpers.gpt import GPT, generate
from helpers.labs import speed
from helpers.storage import weights
from tools.bench.plain import PlainGPT, copy_to_plain

Write = Callable[[Tensor, int], tuple[Tensor, int]]  # (prompt (1, T), n_new) -> (1, T + n_new) ids, bytes of its cache


@dataclass(frozen=True)
class Writer:
    """A row of the table.

    name       as on the command line
    build      the model whose weights all variants share, in evaluation mode -> (number of parameters, Write)
    precision  of weights and activations
    cached     whether keys and values are kept, so that a token costs one position
    says       what it is, in a line
    """

    name: str
    build: Callable[[GPT], tuple[int, Write]]
    precision: str
    cached: bool
    says: str


def _plain(model: GPT) -> tuple[int, Write]:
    plain = PlainGPT(replace(model.config, tied_head=False)).to(_device(model)).eval()
    copy_to_plain(model, plain)
    return _size(plain), lambda prompt, n_new: (plain_loop(plain, prompt, n_new), 0)


@torch.no_grad()
def plain_loop(model: nn.Module, token_ids: Tensor, n_new: int) -> Tensor:
    """Greedy as a first version has it: for each token the whole text anew. (B, T) ids -> (B, T + n_new)."""
    for _ in range(n_new):
        logits = model(token_ids)[:, -1]
        chosen = torch.argmax(torch.softmax(logits, dim=-1), dim=-1, keepdim=True)
        token_ids = torch.cat([token_ids, chosen], dim=1)
    return token_ids


def _transformers(dtype: torch.dtype) -> Callable[[GPT], tuple[int, Write]]:
    def build(model: GPT) -> tuple[int, Write]:
        from transformers import GPT2LMHeadModel

        with tempfile.TemporaryDirectory() as folder:
            weights.save(model, folder)
            theirs = GPT2LMHeadModel.from_pretrained(folder).to(_device(model), dtype).eval()

        def write(prompt: Tensor, n_new: int) -> tuple[Tensor, int]:
            found = theirs.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=n_new,
                do_sample=False,
                use_cache=True,
                eos_token_id=None,
                pad_token_id=0,
                return_dict_in_generate=True,
            )
            layers = found.past_key_values.layers
            return found.sequences, sum(part.nbytes for layer in layers for part in (layer.keys, layer.values))

        return _size(theirs), write

    return build


def _helpers(dtype: torch.dtype | None, use_cache: bool) -> Callable[[GPT], tuple[int, Write]]:
    """dtype  None: the model as it is; otherwise laid out by `speed.for_reading`"""

    def build(model: GPT) -> tuple[int, Write]:
        n_params, reader = model.n_params, model if dtype is None else speed.for_reading(model, dtype)

        def write(prompt: Tensor, n_new: int) -> tuple[Tensor, int]:
            text = generate(reader, prompt, n_new, temperature=0, use_cache=use_cache)
            return text, reader.new_cache(1, text.shape[1]).memory_bytes if use_cache else 0

        return n_params, write

    return build


def _device(model: GPT) -> torch.device:
    return model.token_embedding.weight.device


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


_F32, _BF16 = torch.float32, torch.bfloat16
WRITERS: dict[str, Writer] = {
    writer.name: writer
    for writer in (
        Writer("plain", _plain, "float32", False, "every formula spelled out, the whole text for each new token"),
        Writer("transformers", _transformers(_F32), "float32", True, "GPT2LMHeadModel.generate"),
        Writer("transformers-bf16", _transformers(_BF16), "bfloat16", True, "the same in bfloat16"),
        Writer("helpers-no-cache", _helpers(None, False), "float32", False, "generate, the whole text for each token"),
        Writer("helpers", _helpers(_F32, True), "float32", True, "generate on a model laid out for reading"),
        Writer("helpers-bf16", _helpers(_BF16, True), "bfloat16", True, "the same in bfloat16"),
    )
}

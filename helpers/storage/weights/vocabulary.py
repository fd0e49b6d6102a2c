"""More or fewer tokens than the model knows, and the check that tokenizer and model speak of the same ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from helpers.gpt import GPT, INIT_STD, require_kind, require_one_of

INITIALISATIONS = ("mean", "random")


def check_vocabulary(model: GPT, n_tokens: int) -> None:
    """Whether a tokenizer of `n_tokens` may speak to the model.

    A model may have more rows than the tokenizer has tokens, as padding to a round number gives (GPT-2 trained with
    50,304 rows for 50,257 tokens, OPT with 50,272 for 50,265). ValueError, with both numbers: it has fewer.
    """
    require_kind(GPT, model=model)
    if n_tokens > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {n_tokens:,} tokens with ids up to {n_tokens - 1:,}, but the model only has rows for "
            f"{model.config.vocab_size:,}: take the model's own tokenizer, or grow the model with "
            f"resize_vocabulary(model, {n_tokens})"
        )


def resize_vocabulary(
    model: GPT, vocab_size: int, *, initialisation: str = "mean", generator: torch.Generator | None = None
) -> GPT:
    """A new model whose vocabulary has `vocab_size` tokens: the first min(V, vocab_size) rows are the old ones.

    initialisation  of new rows. "mean": the mean of the old rows, so that a new token begins as an average word, and
                    the old ones lose hardly any probability; "random": normal with std 0.02, as before training
    generator       for "random", on the CPU; None: one seeded with 0
    return          GPT, on the model's device and in its mode; the given one stays as it is

    Growing changes the probabilities of old tokens, because the softmax has more terms; shrinking forgets the last
    ids, and texts that hold them can no longer be read. ValueError: vocab_size below 1, an unknown initialisation.
    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", for the mean.
    """
    require_kind(GPT, model=model)
    require_one_of(INITIALISATIONS, initialisation=initialisation)
    with torch.device("meta"):
        resized = GPT(replace(model.config, vocab_size=vocab_size))
    generator = generator or torch.Generator().manual_seed(0)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in ("token_embedding.weight", "head.weight")[: 1 if model.config.tied_head else 2]:
        state[name] = _rows(state[name], vocab_size, initialisation, generator)
    if model.config.tied_head:
        state["head.weight"] = state["token_embedding.weight"]
    resized.load_state_dict(state, assign=True)
    if model.config.tied_head:
        resized.head.weight = resized.token_embedding.weight
    resized.gradient_checkpointing = model.gradient_checkpointing
    return resized.train(model.training)


def _rows(old: torch.Tensor, n_rows: int, initialisation: str, generator: torch.Generator) -> torch.Tensor:
    n_new = max(0, n_rows - len(old))
    if initialisation == "mean":
        new = old.float().mean(0, keepdim=True).expand(n_new, -1)
    else:
        new = torch.randn(n_new, old.shape[1], generator=generator) * INIT_STD
    return torch.cat([old[:n_rows], new.to(old)])

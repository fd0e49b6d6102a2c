"""What a run meets on the machine: whether its model can be made there, and whether the last bits will be the same."""

from __future__ import annotations

from typing import Any

import torch

from helpers.gpt import GPT, GPTConfig, gpt2
from helpers.storage import checkpoint


def new_model(config: GPTConfig) -> GPT:
    """ValueError: too few rows for GPT-2's tokens, or more weights than can be had."""
    if config.vocab_size < gpt2().n_vocab:
        raise ValueError(
            f"vocab_size must be at least {gpt2().n_vocab}, which GPT-2's tokenizer has, got {config.vocab_size}"
        )
    try:
        return GPT(config)
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"a model of these sizes cannot be made here ({str(error).splitlines()[0]})") from error


def machine(device: torch.device) -> dict[str, Any]:
    """What decides the last bits of a sum, beside torch's version; a checkpoint keeps it."""
    return {"threads": torch.get_num_threads(), "device": device.type}


def differences_of_machines(state: checkpoint.RunState, device: torch.device) -> list[str]:
    """Of the one that saved and this one: "threads 2, now 3"."""
    before = state.versions | state.extra
    now = {"torch": checkpoint.current_versions()["torch"]} | machine(device)
    return [f"{name} {before[name]}, now {here}" for name, here in now.items() if before.get(name, here) != here]

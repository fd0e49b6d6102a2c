"""The course's own pretrained model: eight novels' worth of English in a few million numbers, ready to be used."""

from pathlib import Path

import torch

from helpers.gpt import GPT, GPTConfig, Record
from helpers.labs.pretrain import read_log
from helpers.storage import checkpoint

FOLDER = Path(__file__).parents[1] / "assets" / "pretrained"
WEIGHTS, LOG, CARD = FOLDER / "model", FOLDER / "log.jsonl", FOLDER / "README.md"


def load(device: str | torch.device = "cpu") -> GPT:
    """The model with GPT-2's vocabulary, in evaluation mode, its bfloat16 weights as float32.

    Damaged and its kin: the weights in the repository are not those that were published.
    """
    saved = checkpoint.load_model(WEIGHTS, device)
    model = GPT(GPTConfig(**saved.config)).to(device)
    checkpoint.restore(model, None, saved, same_dtype=False)
    return model.eval()


def records() -> list[Record]:
    """The recorded run: every evaluation, and one update in ten."""
    return read_log(LOG)


def card() -> str:
    """The model card, Markdown: data, protocol, curve, limits."""
    return CARD.read_text(encoding="utf-8")

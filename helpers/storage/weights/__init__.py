"""Published weights: GPT-2, OPT, SmolLM2 read into the course's model, and the model written as GPT-2 or OPT."""

from helpers.storage.weights.gguf_file import BLOCK_BYTES, PACKAGED
from helpers.storage.weights.hub import check_sums, fetch, find
from helpers.storage.weights.load import load
from helpers.storage.weights.names import NAMES
from helpers.storage.weights.save import save
from helpers.storage.weights.vocabulary import check_vocabulary, read_tokenizer, resize_vocabulary

__all__ = [
    "BLOCK_BYTES", "NAMES", "PACKAGED", "check_sums", "check_vocabulary", "fetch", "find", "load",
    "read_tokenizer", "resize_vocabulary", "save",
]  # fmt: skip

"""Published weights: GPT-2 and OPT read into the course's model, and the model written back in their format."""

from helpers.storage.weights.hub import PUBLISHED, check_sums, fetch
from helpers.storage.weights.load import load
from helpers.storage.weights.names import NAMES
from helpers.storage.weights.save import save
from helpers.storage.weights.vocabulary import check_vocabulary, resize_vocabulary

__all__ = [
    "NAMES",
    "PUBLISHED",
    "check_sums",
    "check_vocabulary",
    "fetch",
    "load",
    "resize_vocabulary",
    "save",
]

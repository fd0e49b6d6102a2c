"""Published weights: GPT-2 and OPT read into the course's model, and the model written back in their format."""

from helpers.storage.weights._hub import PUBLISHED, fetch
from helpers.storage.weights._load import load, read_config
from helpers.storage.weights._save import save
from helpers.storage.weights._vocabulary import check_vocabulary, resize_vocabulary

__all__ = ["PUBLISHED", "check_vocabulary", "fetch", "load", "read_config", "resize_vocabulary", "save"]

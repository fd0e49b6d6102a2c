"""The GPT, as notebooks 01 to 05 teach it, in one process on one device. To be read in this order:

config        sizes and switches of a model, the presets
tokenizer     a text as ids
model         attention, block, GPT                                with cache: keys and values of what it has read,
                                                                   and rotary: positions as angles (notebook 11)
loss          from scores to one number                            with chunked_loss: the same in little memory
data          split, windows, batches
schedule      the learning rate of every step
train         the loop                                             after records: its settings, what it reports
decode        one token after the other                            with sampling: how each one is chosen
"""

# isort: off
from helpers.gpt import data, decode, loss, tokenizer, train
from helpers.gpt.cache import KeyValueCache
from helpers.gpt.chunked_loss import CHUNK_TOKENS, loss_from_hidden
from helpers.gpt.config import IGNORED_TARGET, PRESETS, GPTConfig, check_ids, preset
from helpers.gpt.config import require_kind, require_known, require_number, require_one_of, require_whole, store_plain
from helpers.gpt.data import Batch, Batches, Windows, cut, join, scoring_batches, split_by_text
from helpers.gpt.decode import generate, stream, stream_text
from helpers.gpt.loss import LossReport, bits_per_byte, entropy, perplexity
from helpers.gpt.loss import next_token_loss, six_steps, token_losses, token_weighted_loss
from helpers.gpt.model import GPT, INIT_STD, CausalSelfAttention, TransformerBlock, evaluating
from helpers.gpt.records import PRECISIONS, Evaluation, Record, TrainConfig, Update
from helpers.gpt.rotary import halves_to_adjacent, rotate
from helpers.gpt.sampling import SamplingParams, keep_min_p, keep_top_k, keep_top_p, next_probs, penalise_repetition
from helpers.gpt.schedule import Schedule
from helpers.gpt.tokenizer import END_OF_TEXT, gpt2, token_labels
from helpers.gpt.train import NonFiniteError, Trainer, evaluate, make_optimizer, quick_fit, summed_loss

# fmt: off
__all__ = [  # noqa: RUF022  by module, in the order of reading
    "IGNORED_TARGET", "PRESETS", "GPTConfig", "check_ids", "preset", "require_kind",
    "require_known", "require_number", "require_one_of", "require_whole", "store_plain",
    "tokenizer", "END_OF_TEXT", "gpt2", "token_labels",
    "GPT", "INIT_STD", "CausalSelfAttention", "TransformerBlock", "evaluating", "halves_to_adjacent",
    "rotate", "KeyValueCache",
    "loss", "LossReport", "bits_per_byte", "entropy", "next_token_loss", "perplexity", "six_steps", "token_losses",
    "token_weighted_loss", "CHUNK_TOKENS", "loss_from_hidden",
    "data", "Batch", "Batches", "Windows", "cut", "join", "scoring_batches", "split_by_text",
    "Schedule",
    "train", "PRECISIONS", "Evaluation", "NonFiniteError", "Record", "TrainConfig", "Trainer", "Update",
    "evaluate", "make_optimizer", "quick_fit", "summed_loss",
    "decode", "SamplingParams", "generate", "keep_min_p", "keep_top_k", "keep_top_p", "next_probs",
    "penalise_repetition", "stream", "stream_text",
]

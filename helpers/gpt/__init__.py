"""The GPT, as notebooks 01 to 05 teach it, in one process on one device. To be read in this order:

config        sizes and switches of a model, the presets
tokenizer     a text as ids
model         attention, block, GPT; what makes it read            with cache: keys and values of what it has read
loss          from scores to one number                            with chunked_loss: the same in little memory (fast)
data          split, windows, batches                              with rows: documents of all lengths
schedule      the learning rate of every step
train         the loop                                             with records: its settings, what it reports
decode        one token after the other                            with sampling: how each one is chosen
"""

from helpers.gpt import config, data, decode, loss, model, schedule, tokenizer, train
from helpers.gpt.cache import KeyValueCache
from helpers.gpt.chunked_loss import CHUNK_TOKENS, loss_from_hidden
from helpers.gpt.config import IGNORED_TARGET, PRESETS, GPTConfig, check_ids, preset
from helpers.gpt.data import (
    Batch,
    Batches,
    Rows,
    SegmentedBatch,
    Windows,
    cut,
    join,
    rows_of,
    scoring_batches,
    split_by_text,
)
from helpers.gpt.decode import generate, stream, stream_text
from helpers.gpt.loss import (
    LossReport,
    SixSteps,
    bits_per_byte,
    entropy,
    next_token_loss,
    perplexity,
    six_steps,
    token_losses,
    token_weighted_loss,
)
from helpers.gpt.model import (
    GPT,
    INIT_STD,
    CausalSelfAttention,
    FeedForward,
    TransformerBlock,
    evaluating,
    positions_in,
)
from helpers.gpt.records import PRECISIONS, Evaluation, Record, TrainConfig, Update
from helpers.gpt.sampling import (
    SamplingParams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_probs,
    penalise_repetition,
)
from helpers.gpt.schedule import Schedule
from helpers.gpt.tokenizer import END_OF_TEXT, gpt2, token_labels
from helpers.gpt.train import (
    Curve,
    NonFiniteError,
    Trainer,
    curves,
    evaluate,
    make_optimizer,
    quick_fit,
    summed_loss,
)

__all__ = [
    "CHUNK_TOKENS",
    "END_OF_TEXT",
    "GPT",
    "IGNORED_TARGET",
    "INIT_STD",
    "PRECISIONS",
    "PRESETS",
    "Batch",
    "Batches",
    "CausalSelfAttention",
    "Curve",
    "Evaluation",
    "FeedForward",
    "GPTConfig",
    "KeyValueCache",
    "LossReport",
    "NonFiniteError",
    "Record",
    "Rows",
    "SamplingParams",
    "Schedule",
    "SegmentedBatch",
    "SixSteps",
    "TrainConfig",
    "Trainer",
    "TransformerBlock",
    "Update",
    "Windows",
    "bits_per_byte",
    "check_ids",
    "config",
    "curves",
    "cut",
    "data",
    "decode",
    "entropy",
    "evaluate",
    "evaluating",
    "generate",
    "gpt2",
    "join",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "loss",
    "loss_from_hidden",
    "make_optimizer",
    "model",
    "next_probs",
    "next_token_loss",
    "penalise_repetition",
    "perplexity",
    "positions_in",
    "preset",
    "quick_fit",
    "rows_of",
    "schedule",
    "scoring_batches",
    "six_steps",
    "split_by_text",
    "stream",
    "stream_text",
    "summed_loss",
    "token_labels",
    "token_losses",
    "token_weighted_loss",
    "tokenizer",
    "train",
]

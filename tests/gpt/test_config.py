"""GPTConfig refuses what no GPT can be, and the presets are the published shapes."""

import dataclasses
import json
from fractions import Fraction

import numpy as np

from helpers.gpt import GPTConfig, TrainConfig, preset
from tests.support import refusals_by_field, refusals_of, refused

NAN, INF = float("nan"), float("inf")
test_refuses_values = refusals_by_field(
    GPTConfig, vocab_size=[0], context_length=[-1], n_layers=[2.0], n_heads=[True], drop_rate=[1.0, NAN, "0.1"],
    norm_eps=[0.0, INF, 10**400, Fraction(10**400)], tied_head=["no"], qkv_bias=[2], position_offset=[-2],
    ff_dim=[0], n_kv_heads=[0], rotary_base=[-1],
)  # fmt: skip
test_refuses = refusals_of(
    lambda changes: GPTConfig(**changes),
    ({"emb_dim": 10, "n_heads": 3}, "multiple of n_heads"),
    ({"activation": "swish"}, "gelu_tanh"),
    ({"n_kv_heads": 5}, "multiple of n_kv_heads, got 12 and 5"),
    ({"norm": "rms"}, "layernorm, rmsnorm"),
    ({"positions": "alibi"}, "learned, rotary"),
    ({"positions": "rotary", "emb_dim": 9, "n_heads": 3}, "must be even, got 3"),
    ({"rotary_pairs": "both"}, "adjacent, halves"),
    ({"feed_forward": "gelu"}, "mlp, swiglu"),
)


def test_numbers_of_numpy_are_stored_as_pythons_own():
    n, x = np.int64(8), np.float32(0.5)
    model = GPTConfig(n, n, n, n, n, ff_dim=n, position_offset=n, n_kv_heads=n, drop_rate=x, norm_eps=x, rotary_base=x)
    train = TrainConfig(n, x, n, x, x, (x, x), x, micro_batch_size=n, eval_every=n)
    for config in (model, train):
        assert type(config)(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_preset_applies_changes_and_names_what_there_is():
    small = preset("course-small")
    assert preset("course-small", n_layers=7) == dataclasses.replace(small, n_layers=7) != small
    refused("book-124m", preset, "gpt3")
    refused("n_embd", preset, "course-small", n_embd=5)
    refused("", setattr, small, "emb_dim", 5, error=dataclasses.FrozenInstanceError)

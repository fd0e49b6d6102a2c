"""GPTConfig refuses what no GPT can be, and the presets are the published shapes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from helpers.gpt import GPTConfig, TrainConfig, preset


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"context_length": -1}, "context_length"),
        ({"n_layers": 2.0}, "n_layers"),
        ({"n_heads": True}, "n_heads"),
        ({"emb_dim": 10, "n_heads": 3}, "multiple of n_heads"),
        ({"drop_rate": 1.0}, "drop_rate"),
        ({"drop_rate": float("nan")}, "drop_rate"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"norm_eps": float("inf")}, "norm_eps"),
        ({"norm_eps": 10**400}, "norm_eps"),
        ({"drop_rate": "0.1"}, "drop_rate"),
        ({"tied_head": "no"}, "tied_head"),
        ({"qkv_bias": 2}, "qkv_bias"),
        ({"activation": "swish"}, "gelu_tanh"),
        ({"position_offset": -2}, "position_offset"),
        ({"ff_dim": 0}, "ff_dim"),
        ({"n_kv_heads": 0}, "n_kv_heads"),
        ({"n_kv_heads": 5}, "multiple of n_kv_heads, got 12 and 5"),
        ({"norm": "rms"}, "layernorm, rmsnorm"),
        ({"positions": "alibi"}, "learned, rotary"),
        ({"positions": "rotary", "emb_dim": 9, "n_heads": 3}, "must be even, got 3"),
        ({"rotary_pairs": "both"}, "adjacent, halves"),
        ({"rotary_base": -1}, "rotary_base"),
        ({"feed_forward": "gelu"}, "mlp, swiglu"),
    ],
)
def test_refuses(changes, named):
    with pytest.raises(ValueError, match=named):
        GPTConfig(**changes)


def test_numbers_of_numpy_are_stored_as_pythons_own():
    n, x = np.int64(8), np.float32(0.5)
    model = GPTConfig(n, n, n, n, n, ff_dim=n, position_offset=n, n_kv_heads=n, drop_rate=x, norm_eps=x, rotary_base=x)
    train = TrainConfig(n, x, n, x, x, (x, x), x, micro_batch_size=n, eval_every=n)
    for config in (model, train):
        assert type(config)(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPTConfig().emb_dim = 5


def test_preset_applies_changes_and_names_what_there_is():
    assert preset("course-small", n_layers=7).n_layers == 7
    assert preset("course-small") is not preset("course-small", n_layers=7)
    with pytest.raises(ValueError, match="book-124m"):
        preset("gpt3")
    with pytest.raises(ValueError, match="n_embd"):
        preset("course-small", n_embd=5)

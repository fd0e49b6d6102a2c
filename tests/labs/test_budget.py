"""Cost arithmetic against the class's figures and against what torch counts."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.gpt import GPT, GPTConfig, preset
from helpers.labs import budget
from tests.support import refusals


def test_a_run_fills_its_hours_and_no_more():
    n_updates, tokens = budget.updates_within(4, 7000.0, 24_576), 24_576 / 7000
    assert n_updates * tokens <= 4 * 3600 < (n_updates + 1) * tokens
    assert budget.updates_within(0.001, 10.0, 1e6) == 1
    assert budget.cost(200_000 * 256, budget.REPORTED_T4_TOKENS_PER_S, 0.0).hours == pytest.approx(2)


def test_readable_numbers():
    for seconds, expected in (
        (0, "0.0 seconds"),
        (59.9, "60 seconds"),
        (60, "1.0 minutes"),
        (5400, "1.5 hours"),
        (1e10, "317 years"),
        (budget.training_seconds(300e9, 15_000), "7.7 months"),  # the class's figures
        (budget.training_seconds(300e9, 150_000), "23 days"),
    ):
        assert budget.readable_time(seconds) == expected
    for n, expected in (
        (0, "0"),
        (15_000, "15,000"),
        (300e9 / 3600, "83.3 million"),
        (999.6e6, "1 billion"),
        (2e15, "2,000 trillion"),
    ):
        assert budget.readable_count(n) == expected
    for n, expected in ((0, "0 bytes"), (512, "512 bytes"), (1536, "1.5 KiB"), (2**40, "1 TiB")):
        assert budget.readable_bytes(n) == expected


LLAMA = {"norm": "rmsnorm", "positions": "rotary", "feed_forward": "swiglu", "linear_bias": False}


@pytest.mark.parametrize("changes", [{}, {"tied_head": False}, LLAMA | {"n_kv_heads": 1, "ff_dim": 31}])
def test_flops_are_those_that_torch_counts(changes):
    shape = dict(vocab_size=101, context_length=13, emb_dim=24, n_heads=3, n_layers=2, drop_rate=0.0)
    config = GPTConfig(**shape, **changes)
    model = GPT(config)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(torch.zeros(5, 11, dtype=torch.int64))
    assert counter.get_total_flops() == 5 * 11 * budget.matmul_flops_per_token(config, context_length=11)


def test_cache_is_as_large_as_the_model_s():
    config = GPTConfig(101, 13, emb_dim=24, n_heads=6, n_kv_heads=2, n_layers=3)
    assert budget.cache_bytes(config, 5 * 11) == GPT(config).new_cache(5, 11).memory_bytes
    assert budget.cache_bytes(config, 55, element_bytes=2) == 55 * 2 * 3 * 2 * 4 * 2  # k and v, layers, heads, D, bytes


GPT2, BILLIONS = preset("gpt2-124m"), 2 * 10**9


@pytest.mark.parametrize(
    ("count", "given"),
    [
        (budget.training_seconds, (BILLIONS, 3)),
        (budget.updates_within, (10, BILLIONS, 1)),
        (budget.cost, (BILLIONS, 1, 10**6, 10**6)),
        (budget.readable_bytes, (BILLIONS,)),
        (budget.readable_time, (BILLIONS,)),
        (budget.readable_count, (BILLIONS,)),
        (budget.matmul_flops_per_token, (preset("gpt2-124m", context_length=10**6), 10**6)),
        (budget.cache_bytes, (GPT2, 10**6, 4)),
        (budget.all_reduce_bytes, (BILLIONS, BILLIONS)),
        (budget.scaling, (BILLIONS, BILLIONS, 3, BILLIONS, "Ethernet 1 Gb/s")),
        (budget.bytes_per_rank, (355_000_000, 8, 300_000_000)),
        (budget.replicated_limit, (BILLIONS,)),
        (budget.ranks_needed, (355_000_000, BILLIONS, 10**6)),
        (lambda B, T: budget.memory(GPT2, B, T, kept_logits_for_evaluation=B).rows(), (512, 1024)),
        (lambda n_bytes: str(budget.fits(budget.memory(GPT2, 8), n_bytes)), (BILLIONS,)),
    ],
)
def test_numpy_s_numbers_count_as_python_s(count, given):
    numbers = [np.int32(x) if isinstance(x, int) else x for x in given]
    assert repr(count(*numbers)) == repr(count(*given)), "and are Python's afterwards"


def test_fractions_and_narrow_floats_are_numbers():
    assert budget.updates_within(np.float16(100), np.float16(1000), 1) == 360_000_000, "above float16's largest"
    assert [budget.readable_count(Fraction(n)) for n in (5, 5e6)] == ["5", "5 million"]
    assert budget.readable_time(Fraction(121, 2)) == "1.0 minutes" and budget.readable_bytes(Fraction(9)) == "9 bytes"


NO_AMOUNTS = (-1, math.inf, math.nan)
test_refuses_what_is_no_amount = refusals(
    *((budget.training_seconds, wrong, 1, "n_tokens") for wrong in (0, *NO_AMOUNTS)),
    *((budget.training_seconds, 1, wrong, "tokens_per_s") for wrong in (0, *NO_AMOUNTS)),
    *((budget.readable_time, wrong, "seconds") for wrong in NO_AMOUNTS),
    *((budget.readable_count, wrong, "count") for wrong in NO_AMOUNTS),
    (budget.readable_bytes, -1, "size"),
    (budget.updates_within, 1, math.nan, 1, "above 0"),
    *((budget.updates_within, n, n, 1, "updates must be a finite number") for n in (1e300, 10**300)),
    (budget.readable_count, Fraction(10**400), "count must be a finite number"),
    (budget.cache_bytes, preset("course-small"), 0, "n_tokens"),
    *((budget.matmul_flops_per_token, preset("course-small"), length, "128") for length in (0, 129)),
)

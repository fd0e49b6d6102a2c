"""A result and its protocol: by hand, what a card shows, and what is refused."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from helpers.labs import metrics
from tests.support import refusals_by_field, refusals_of, refused

HONEST = metrics.Protocol(
    data="story, first edition",
    split="validation",
    context_length=128,
    stride=64,
    n_tokens=np.int32(1_000),
    n_bytes=4_000,
    padding="none",
    mean="tokens",
    tokenizer="gpt2",
    checkpoint="step 100",
)


CARD = """
| of the number | value |
| --- | --- |
| perplexity | 16.00 |
| loss, nats per token | 2.7726 |
| bits per byte | 1.0000 |
| data | story, first edition |
| split | validation |
| context, tokens | 128 |
| stride, tokens | 64 |
| tokens scored | 1,000 |
| bytes of text | 4,000 |
| padding | none |
| mean over | tokens |
| tokenizer | gpt2 |
| checkpoint | step 100 |
| precision | float32 |
"""


def test_the_card_states_every_field_and_what_is_not_stated():
    result = metrics.Result(math.log(16), HONEST)  # 4 bits a token, 4 bytes a token
    assert (result.perplexity, result.bits_per_byte) == pytest.approx((16, 1)) and result.cautions == []
    assert result._repr_markdown_() == result.card(), "what a notebook shows"
    assert result.card().strip() == CARD.strip()
    unstated = metrics.Result(math.log(31.67), metrics.Protocol(*[None] * 10, precision=None))
    assert unstated.bits_per_byte is None and unstated.cautions == []
    lines = unstated.card().splitlines()
    assert lines[2] == "| perplexity | 31.67 |" and len(lines) == 5 + 11
    assert all(line.endswith("| not stated |") for line in lines[4:])
    card = metrics.Result(1.0, replace(HONEST, data="a|b\nc \\ </s> &lt; $1 to $2", tokenizer="*_own_* o_n")).card()
    assert r"| data | a\|b c \\ \</s> \&lt; \$1 to \$2 |" in card.splitlines()
    assert r"| tokenizer | \*\_own\_\* o_n |" in card.splitlines()


def test_cautions_name_what_bends_the_number_and_nothing_else():
    for change, says in (
        ({"padding": "scored"}, "padding is scored"),
        ({"mean": "batches"}, "macro-average over batches"),
        ({"split": "Training"}, "trained on"),
        ({"stride": 129}, "not scored"),
    ):
        result = metrics.Result(1.0, replace(HONEST, **change))
        assert len(result.cautions) == 1 and says in result.cautions[0]
        assert result.card().splitlines()[-1] == f"| caution | {result.cautions[0]} |"
    for change in ({"padding": "not scored"}, {"stride": 128}, {"context_length": None}, {"stride": None}):
        assert metrics.Result(1.0, replace(HONEST, **change)).cautions == []


def test_compare_refuses_each_difference_but_the_checkpoint():
    for name in (field.name for field in fields(metrics.Protocol)):
        text = isinstance(getattr(HONEST, name), str)
        new = {"padding": "not scored", "mean": "rows"}.get(name, "other" if text else 7)
        a, b = metrics.Result(math.log(10), HONEST), metrics.Result(math.log(25), replace(HONEST, **{name: new}))
        if name == "checkpoint":
            assert metrics.compare(b, a) == pytest.approx(2.5)
            continue
        for pair in ((a, b), (b, a)):
            refused(rf"not measured alike: {name} \([^(]*\)\. ", metrics.compare, *pair)
    worst, best = metrics.Result(1000.0, HONEST), metrics.Result(1.0, HONEST)
    assert metrics.compare(worst, best) == math.inf and metrics.compare(best, worst) == 0
    a, b = metrics.Result(1.0, HONEST), metrics.Result(1.0, replace(HONEST, stride=128, n_bytes=4_001))
    refused(r"stride \(64 and 128\), n_bytes \(4,000 and 4,001\)\. ", metrics.compare, a, b)
    unknown = metrics.Result(1.0, replace(HONEST, split=None, checkpoint=None))
    refused(r"alike: split \(not stated and not stated\)\. ", metrics.compare, unknown, unknown)


test_result_refuses = refusals_of(
    lambda loss_nats: metrics.Result(loss_nats, HONEST),
    *((loss_nats, "loss_nats") for loss_nats in (-0.1, math.nan, math.inf)),
)
test_protocol_refuses = refusals_by_field(
    lambda **changes: replace(HONEST, **changes), padding=["masked"], mean=["epochs"], context_length=[0], stride=[0],
    n_tokens=[0], n_bytes=[0],
)  # fmt: skip

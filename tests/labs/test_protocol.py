"""A result and its protocol: by hand, what a card shows, and what is refused."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from helpers.labs import metrics

HONEST = metrics.Protocol(
    data="story, first edition",
    split="validation",
    context_length=128,
    stride=64,
    n_tokens=1_000,
    n_bytes=4_000,
    padding="none",
    mean="tokens",
    tokenizer="gpt2",
    checkpoint="step 100",
)


def test_the_card_states_every_field():
    result = metrics.Result(math.log(16), HONEST)  # 4 bits a token, 4 bytes a token
    assert (result.perplexity, result.bits_per_byte) == pytest.approx((16, 1)) and result.cautions == []
    lines = result.card().splitlines()
    assert lines[:2] == ["| of the number | value |", "| --- | --- |"]
    cells = [tuple(line.strip("| ").split(" | ")) for line in lines[2:]]
    assert cells == [
        ("perplexity", "16.00"),
        ("loss, nats per token", "2.7726"),
        ("bits per byte", "1.0000"),
        ("data", "story, first edition"),
        ("split", "validation"),
        ("context, tokens", "128"),
        ("stride, tokens", "64"),
        ("tokens scored", "1,000"),
        ("bytes of text", "4,000"),
        ("padding", "none"),
        ("mean over", "tokens"),
        ("tokenizer", "gpt2"),
        ("checkpoint", "step 100"),
        ("precision", "float32"),
    ]
    assert result._repr_markdown_() == result.card(), "what a notebook shows"


def test_what_is_not_stated_is_said_to_be_so():
    result = metrics.Result(math.log(31.67), metrics.Protocol(*[None] * 10, precision=None))
    assert result.bits_per_byte is None and result.cautions == []
    lines = result.card().splitlines()
    assert lines[2] == "| perplexity | 31.67 |" and len(lines) == 5 + 11
    assert all(line.endswith("| not stated |") for line in lines[4:])
    assert metrics.Result(1.0, replace(HONEST, n_bytes=None)).bits_per_byte is None


def test_a_card_keeps_to_its_cells():
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


@pytest.mark.parametrize("name", [field.name for field in fields(metrics.Protocol)])
def test_compare_refuses_each_difference_but_the_checkpoint(name):
    new = {"padding": "not scored", "mean": "rows"}.get(name, "other" if isinstance(getattr(HONEST, name), str) else 7)
    a, b = metrics.Result(1.0, HONEST), metrics.Result(1.0, replace(HONEST, **{name: new}))
    if name == "checkpoint":
        assert metrics.compare(
            metrics.Result(math.log(25), b.protocol), metrics.Result(math.log(10), HONEST)
        ) == pytest.approx(2.5)
        return
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match="not measured alike") as refusal:
            metrics.compare(*pair)
        named = [field.name for field in fields(metrics.Protocol) if f"{field.name} (" in str(refusal.value)]
        assert named == [name]


def test_compare_names_every_difference_and_takes_nothing_for_granted():
    other = replace(HONEST, stride=128, n_bytes=4_001)
    with pytest.raises(ValueError, match=r"stride \(64 and 128\), n_bytes \(4,000 and 4,001\)\. "):
        metrics.compare(metrics.Result(1.0, HONEST), metrics.Result(1.0, other))
    unknown = replace(HONEST, split=None, checkpoint=None)
    with pytest.raises(ValueError, match=r"alike: split \(not stated and not stated\)\. "):
        metrics.compare(metrics.Result(1.0, unknown), metrics.Result(1.0, unknown))


def test_protocol_and_result_refuse():
    for change, says in (
        ({"padding": "masked"}, "padding must be one of none, not scored, scored"),
        ({"mean": "epochs"}, "mean must be one of tokens"),
        *(({name: 0}, f"{name} must be") for name in ("context_length", "stride", "n_tokens", "n_bytes")),
    ):
        with pytest.raises(ValueError, match=says):
            replace(HONEST, **change)
    for loss in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="loss_nats"):
            metrics.Result(loss, HONEST)

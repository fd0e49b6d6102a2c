"""The loss stepper: its script's six steps against those of torch, and what is typed below it."""

import itertools
import re

import pytest
import torch

from helpers.classroom import cards
from helpers.gpt import gpt2, perplexity, six_steps
from tests.cards import by_last_token, script, told
from tests.support import refused


def model(token_ids: torch.Tensor) -> torch.Tensor:
    """Less sure than the model of the other cards, so that probabilities have as many digits as a young model's."""
    return by_last_token(token_ids) / 3


def states(stepper: object) -> list[dict]:
    return script("stepper").states([{"step": step} for step in range(1, 7)], stepper.card().config)


def test_the_script_goes_through_the_six_steps() -> None:
    stepper = cards.loss_stepper(model)
    token_ids = torch.tensor([[16833, 3626, 6100], [40, 1107, 588]])
    steps = six_steps(model(token_ids), torch.tensor([[3626, 6100, 345], [1107, 588, 11311]]))
    first, second, third, fourth, fifth, last = states(stepper)
    for s, t in itertools.product(range(2), range(3)):
        assert float(third[f"r{s}{t}e"]) == pytest.approx(steps.target_probs[s, t].item(), rel=0.05)
        assert float(fourth[f"r{s}{t}g"].replace("−", "-")) == pytest.approx(steps.log_probs[s, t].item(), abs=0.006)
    p, logit = steps.target_probs[0, 0].item(), steps.logits[0, 0, 3626].item()
    best = repr(gpt2().decode([int(steps.logits[0, 0].argmax())]))
    assert first["r00c"].startswith(f"{best} {steps.logits[0, 0].max():.2f} · ") and first["r02b"] == "' you'"
    assert second["r00c"].startswith(f"{best} {steps.probs[0, 0].max():.1e} · ")
    assert first["result"] == f"' effort' after 'every': score {logit:.2f}".replace("-", "−")
    assert third["result"] == f"p(' effort' after 'every') = {p:.3e}"
    assert fifth["result"].endswith(f" / 6 = {-steps.loss_nats.item():.4f}".replace("-", "−"))
    order = steps.logits[0, 0].argsort(descending=True).tolist()
    assert first["r00f"] == f"{1 + order.index(3626):,}", "ranks count the higher scores"
    loss = steps.loss_nats.item()
    assert last["result"] == (f"loss {loss:.4f} nats · F.cross_entropy {loss:.4f} · perplexity {perplexity(loss):,.0f}")
    assert last["step6@aria-pressed"] == "true" and last["r03@hidden"] == "" and last["r02@hidden"] is None
    assert stepper.card().sentence == (
        f"“every effort moves you” and “I really like chocolate”: loss {loss:.2f} nats over 6 targets, "
        f"perplexity {perplexity(loss):,.0f}."
    )


def test_sentences_of_different_length_count_every_target_once_and_a_long_sum_is_cut() -> None:
    stepper = cards.loss_stepper(model, "every effort", "I really like chocolate")
    loss = -sum(float(row[2]) for row in stepper.card().table[1:]) / 4
    state = states(stepper)[5]
    assert state["result"].startswith(f"loss {loss:.2f}") and f"F.cross_entropy {loss:.2f}" in state["result"]
    assert "1 and 3 targets" in state["note"] and "not scored" in state["note"]
    stepper = cards.loss_stepper(model, "eu gosto de pão de queijo", " a" * 16)
    state, rows = states(stepper)[4], stepper.card().table[1:]
    assert len(rows) == 10 + 15 and state["r114@hidden"] is None and "10 and 15 targets" in state["note"]
    assert state["result"].count("−") == 8 and f"− {-float(rows[-1][2]):.2f}) / 25 = −" in state["result"]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("", "got nothing"),
        ("   ", "got nothing"),
        ("you", "got 1 token in 'you'"),
        ("a " * 30, "2 to 16 tokens, got"),
        ("a" + " " * 10**6 + "b", "16 tokens"),
    ],
)
def test_a_bad_sentence_is_refused_and_typed_it_becomes_a_message(first: str, message: str) -> None:
    refused(f"first sentence .*{message}", cards.loss_stepper, model, first)
    stepper = cards.loss_stepper(model)
    stepper.lines[0].value = first
    assert re.search(f"{message}.*the last two sentences that worked", told(stepper)["error"])
    assert told(stepper)["sentences"][0]["text"] == "every effort moves you"
    stepper.lines[0].value = "another <b>try</b>"
    assert told(stepper)["error"] is None and told(stepper)["sentences"][0]["text"] == "another <b>try</b>"


def test_a_model_of_a_few_words_has_their_names() -> None:
    known = sorted({*gpt2().encode("every effort moves you"), *gpt2().encode("I really like chocolate"), 13})
    scores = torch.randn(len(known), len(known), generator=torch.Generator().manual_seed(2))
    stepper = cards.loss_stepper(lambda ids: scores[ids], vocabulary=torch.tensor(known))
    first, *_ = states(stepper)
    at = scores[known.index(16833)]
    assert first["top_head"] == f"3 highest of {len(known)} logits" and first["r00a"] == "'every'"
    assert first["r00c"].startswith(repr(gpt2().decode([known[int(at.argmax())]])) + " ")
    expected = at.log_softmax(-1)[known.index(3626)].item()
    assert float(stepper.card().table[1][2]) == pytest.approx(expected, abs=0.006)
    says = "knows 9 tokens; the first sentence has others: ' moved'"
    refused(says, cards.loss_stepper, scores.__getitem__, "every effort moved you", vocabulary=known)
    few = {"vocabulary": known[1:]}
    refused("scores of the 8 tokens .* got 9", cards.loss_stepper, scores.__getitem__, *["every effort"] * 2, **few)

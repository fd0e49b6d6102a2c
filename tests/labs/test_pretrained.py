"""The course's own pretrained model: small, whole, better than chance by far, and described by its own card."""

import json
import math
import re
import shutil

import pytest
import torch

import tools.pretrained
from helpers.classroom import progress
from helpers.gpt import Evaluation, generate, next_token_loss, tokenizer
from helpers.labs import pretrained
from helpers.storage import checkpoint
from tests.support import flip, refused

MAX_BYTES = 20_000_000
ENGLISH = "It was not that she did not wish to go, but that her mother had been so very unwell. He said nothing."


@pytest.fixture(scope="module")
def model():
    return pretrained.load()


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([tokenizer.gpt2().encode(text)])


def test_it_is_small_and_has_gpt2s_vocabulary_and_evaluates(model):
    assert (pretrained.WEIGHTS / "model.safetensors").stat().st_size <= MAX_BYTES
    assert {t.dtype for t in checkpoint.load_model(pretrained.WEIGHTS).model.values()} == {torch.bfloat16}
    assert model.config.vocab_size == tokenizer.gpt2().n_vocab
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.head.weight is model.token_embedding.weight


def test_it_prefers_english_in_its_order_and_writes_words(model):
    ids = ids_of(ENGLISH)
    shuffled = ids[:, torch.randperm(ids.shape[1], generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        in_order, out_of_order = (next_token_loss(model(x[:, :-1]), x[:, 1:]).item() for x in (ids, shuffled))
    assert in_order < math.log(150) < out_of_order
    written = generate(model, ids_of("It was"), 40, temperature=0.8, top_k=40)[0].tolist()
    assert len(set(re.findall(r"[A-Za-z]+", tokenizer.gpt2().decode(written)))) > 12


def test_card_agrees_with_weights_log_and_corpus(model):
    card, records = pretrained.card(), pretrained.records()
    assert f"{model.n_params:,} parameters" in card
    assert f"{(pretrained.WEIGHTS / 'model.safetensors').stat().st_size:,} bytes" in card
    _, validation = progress.curves(records)
    assert f"{min(validation.losses):.4f}" in card
    best = checkpoint.load_model(pretrained.WEIGHTS).extra
    assert best["loss_nats"] == min(validation.losses)
    assert best["step"] == validation.steps[validation.losses.index(min(validation.losses))]
    assert isinstance(records[0], Evaluation) and records[0].step == 0, "before the first update"
    assert records[0].loss_nats == pytest.approx(math.log(50257), abs=0.2)
    assert [r.step for r in records] == sorted(r.step for r in records)
    for book in json.loads((pretrained.FOLDER / "corpus.json").read_text(encoding="utf-8"))["books"]:
        assert book["text_licence"] == "public domain" and book["package"] and book["version"]
        assert re.fullmatch(r"[0-9a-f]{64}", book["sha256"])


def test_card_claims_no_more_than_was_measured():
    evaluations = [{"loss_nats": record.loss_nats} for record in pretrained.records() if isinstance(record, Evaluation)]
    card = pretrained.card()
    assert f"\n{tools.pretrained._ending(evaluations)} Evaluated" in card
    assert tools.pretrained._ending([{"loss_nats": loss} for loss in (3.0, 1.0, 2.0)]).startswith("The validation loss")


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    shutil.copytree(pretrained.WEIGHTS, tmp_path, dirs_exist_ok=True)
    flip(tmp_path / "model.safetensors", -5)
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    refused("not the file that was saved", pretrained.load, error=checkpoint.Damaged)

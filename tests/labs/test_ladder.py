"""The ladder's rungs: each computes what the first does, padding is never believed in, and a wrong rung is caught."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch

import helpers.gpt.loss
import helpers.gpt.model
from helpers.gpt import GPT, GPTConfig
from helpers.gpt.dropout import causal_attention
from helpers.labs.speed import CARD_PEAKS, RUNGS, _model, _product, _worker, names_for
from helpers.labs.speed._check import TOLERANCES, compare
from helpers.labs.speed._peaks import TERA, card_peak
from helpers.labs.speed._rungs import Switches, in_order

# distinct primes, so that a transposed axis cannot pass
TINY = GPTConfig(vocab_size=101, context_length=17, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0)
B, T = 5, 13


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """These models are too small for two, whose waiting for each other would take most of the time."""
    monkeypatch.setenv("COURSE_THREADS", "1")
    torch.set_num_threads(1)


def a_job(switches: Switches, **changes) -> _worker.Job:
    settings = {
        "config": asdict(TINY), "batch_size": B, "timed_rows": B, "context_length": T, "updates": 2, "warmup": 1,
        "device": "cpu",
    }  # fmt: skip
    return _worker.Job(**{"switches": asdict(switches)} | settings | changes)


def on_rung(name: str) -> Switches:
    switches = Switches()
    for rung in names_for("cpu"):
        switches = RUNGS[rung].on(switches)
        if rung == name:
            return switches
    raise AssertionError(name)


@pytest.fixture(scope="module")
def first() -> dict:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_THREADS", "1")
        return _worker.measure(a_job(Switches()))


# --- The same result ---


@pytest.mark.parametrize("name", names_for("cpu"))
def test_each_rung_computes_what_the_first_does(name, first, monkeypatch):
    monkeypatch.setattr("helpers.labs.measuring.machine.has_bfloat16", lambda cpuinfo: True)
    for takes_seconds in ("compile_blocks", "import_compiler"):
        monkeypatch.setattr(_worker, takes_seconds, lambda *model: None)
    found = _worker.measure(a_job(on_rung(name), timed_rows=2 * B if name == "larger-batch" else B))
    assert found["status"] == "ok" and compare(found, first)[0], compare(found, first)
    assert found["precision"] == ("float32" if name == "float32" else "bfloat16")
    assert len(found["losses"]) == _worker.N_CHECKED and len(found["seconds"]) == 2
    assert abs(found["losses"][0] - math.log(TINY.vocab_size)) < 0.2


CHANGES = [rung.change for rung in RUNGS.values() if rung.change not in (None, "tf32", "half", "compiled")]


@pytest.mark.parametrize("change", CHANGES)
def test_in_float32_a_change_alone_moves_nothing(change, first):
    found = _worker.measure(a_job(Switches(**{change: True})))
    assert found["losses"] == pytest.approx(first["losses"], rel=2e-6)
    assert found["grad_norms"] == pytest.approx(first["grad_norms"], rel=1e-5)


def test_attention_step_by_step_is_causal_attention():
    q, k, v = torch.randn(3, 2, 3, T, 7)
    assert torch.allclose(_model.attention_step_by_step(q, k, v), causal_attention(q, k, v), atol=1e-6)
    with pytest.raises(ValueError, match="no dropout"):
        _model.attention_step_by_step(q, k, v, 0.1)


def test_compiled_blocks_are_those_of_every_block(monkeypatch):
    """With a compiler that hands the graph back: `compile` was asked for each block, and results are the same."""
    asked = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **options: asked.append((type(self).__name__, options))
    )
    _model.compile_blocks(GPT(TINY))
    assert asked == [("TransformerBlock", {"dynamic": False})] * TINY.n_layers


def test_switches_are_really_on_inside_and_off_again_afterwards():
    before = helpers.gpt.model.causal_attention, helpers.gpt.loss._scores_to_gradient
    model = GPT(TINY)
    with _model.switched(model, Switches(), TINY.vocab_size):
        assert helpers.gpt.model.causal_attention is _model.attention_step_by_step
        assert helpers.gpt.loss._scores_to_gradient is before[1]
    with _model.switched(model, Switches(fused_attention=True), TINY.vocab_size - 1):
        assert helpers.gpt.model.causal_attention is before[0]
        assert helpers.gpt.loss._scores_to_gradient is not before[1]
    assert (helpers.gpt.model.causal_attention, helpers.gpt.loss._scores_to_gradient) == before


@pytest.mark.parametrize("fused", [False, True])
def test_the_optimizer_is_fused_or_goes_one_by_one(fused, monkeypatch):
    made = []
    real = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, **k: made.append(k) or real(*a, **k))
    _worker.make_update(GPT(TINY), TINY.vocab_size, Switches(fused_optimizer=fused), "cpu")
    assert (made[-1].get("fused"), made[-1].get("foreach")) == ((True, None) if fused else (False, False))


# --- A padded vocabulary ---


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_padding_changes_no_loss_gets_no_probability_and_never_moves(tied, chunked):
    config = GPTConfig(**asdict(TINY) | {"tied_head": tied})
    plain, padded = GPT(config), GPT(config)
    padded.load_state_dict(plain.state_dict())
    _model.pad_vocabulary(padded)
    assert padded.head.weight.shape == (128, TINY.emb_dim) and padded.config.vocab_size == 128
    assert (padded.head.weight is padded.token_embedding.weight) == tied
    ((ids, targets),) = _worker.make_batches(TINY.vocab_size, [B], T, "cpu")
    switches = Switches(chunked_loss=chunked, padded_vocabulary=True, fused_optimizer=True)
    with _model.switched(padded, switches, TINY.vocab_size):
        losses = [_model.mean_loss(m, ids, targets, TINY.vocab_size, chunked) for m in (padded, plain)]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
        probs = torch.softmax(_model.masked_logits(padded, ids, TINY.vocab_size), dim=-1)
        assert probs[..., TINY.vocab_size :].max() == 0
        update = _worker.make_update(padded, TINY.vocab_size, switches, "cpu")
        for _ in range(2):
            update(ids, targets)
    assert padded.head.weight[TINY.vocab_size :].abs().max() == 0
    assert padded.token_embedding.weight[TINY.vocab_size :].abs().max() == 0
    assert not torch.equal(padded.head.weight[: TINY.vocab_size], plain.head.weight)


def test_a_multiple_of_64_is_left_as_it_is():
    model = GPT(GPTConfig(**asdict(TINY) | {"vocab_size": 128}))
    _model.pad_vocabulary(model)
    assert model.config.vocab_size == len(model.head.weight) == 128


# --- The check ---


def no_mask(q, k, v, drop_rate=0.0, same_segment=None):
    return torch.softmax(q @ k.transpose(2, 3) / q.shape[3] ** 0.5, dim=-1) @ v


def no_scale(q, k, v, drop_rate=0.0, same_segment=None):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("wrong", [no_mask, no_scale, "unmasked padding", "no update"])
def test_a_planted_wrong_rung_is_caught(wrong, half, first, monkeypatch):
    monkeypatch.setattr("helpers.labs.measuring.machine.has_bfloat16", lambda cpuinfo: True)
    if wrong == "unmasked padding":
        monkeypatch.setattr(_model, "masked_logits", lambda model, ids, vocab_size: model(ids))
    elif wrong == "no update":
        monkeypatch.setattr(_worker, "LEARNING_RATE", 1e-9)
    else:
        monkeypatch.setattr(_model, "attention_step_by_step", wrong)
    found = _worker.measure(a_job(Switches(half=half, padded_vocabulary=wrong == "unmasked padding")))
    agrees, words = compare(found, first)
    assert not agrees and words.startswith("DIFFERS")


def test_the_check_knows_its_precision():
    exact = {"precision": "float32", "losses": [4.0, 2.0], "grad_norms": [1.0, 1.0]}
    near = exact | {"losses": [4.0, 2.001]}
    assert compare(exact, exact) == (True, "losses to 0e+00, gradients to 0e+00")
    assert not compare(near, exact)[0] and compare(near | {"precision": "bfloat16"}, exact)[0]
    assert compare(near, exact | {"precision": "bfloat16"})[0], "the coarser of the two decides"
    for broken in ([4.0], [4.0, math.nan], [4.0, math.inf]):
        assert not compare(exact | {"losses": broken, "precision": "bfloat16"}, exact)[0]
    assert not compare(near | {"losses": [4.0, 2.0], "grad_norms": [1.0, 1.05], "precision": "bfloat16"}, exact)[0]
    assert set(TOLERANCES) == {"float32", "tf32", "float16", "bfloat16"}


def test_batches_are_the_same_for_all_and_repeat_half_their_tokens():
    one, two = (_worker.make_batches(101, rows, 400, "cpu") for rows in ([3, 3, 7], [3, 3, 3]))
    assert all(torch.equal(a, b) for x, y in zip(one[:2], two[:2], strict=True) for a, b in zip(x, y, strict=True))
    ids, targets = one[2]
    assert ids.shape == targets.shape == (7, 400) and torch.equal(ids[:, 1:], targets[:, :-1])
    assert 0.45 < (ids == targets).float().mean() < 0.6 and ids.min() >= 0 and ids.max() < 101


# --- What the machine lacks ---


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("helpers.labs.measuring.machine.has_bfloat16", lambda cpuinfo: False)
    monkeypatch.setattr(_worker.shutil, "which", lambda name: None)
    assert "bfloat16" in _worker.measure(a_job(Switches(half=True)))["reason"]
    found = _worker.measure(a_job(Switches(compiled=True)))
    assert found["status"] == "skipped" and "C++ compiler" in found["reason"]
    assert "TF32" in _worker.measure(a_job(Switches(tf32=True)))["reason"]
    assert _worker.missing(Switches(), "cpu") is None


@pytest.mark.parametrize(
    ("capability", "triton", "switches", "says", "precision"),
    [
        ((7, 5), None, Switches(tf32=True), "8.0", "tf32"),
        ((7, 5), None, Switches(half=True), None, "float16"),
        ((8, 0), None, Switches(tf32=True, half=True), None, "bfloat16"),
        ((8, 0), None, Switches(compiled=True), "Triton", "float32"),
        ((8, 0), "there", Switches(compiled=True), None, "float32"),
    ],
)
def test_cards(capability, triton, switches, says, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)
    monkeypatch.setattr(_worker.util, "find_spec", lambda name: triton)
    reason = _worker.missing(switches, "cuda")
    assert (reason is None) if says is None else says in reason
    assert _worker.precision_of(switches, "cuda") == precision


def test_a_card_is_limited_to_a_share_of_its_memory(monkeypatch):
    card = SimpleNamespace(name="A card", total_memory=80 * 2**30)
    shares = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    job = a_job(Switches(), device="cuda", memory_limit_gib=20)
    assert _worker._chip(job) == {"chip": "A card", "card_bytes": 80 * 2**30} and shares == [0.25]
    with pytest.raises(ValueError, match="90 is more than A card has"):
        _worker._chip(replace(job, memory_limit_gib=90))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_memory_that_ran_out_is_said(error, monkeypatch):
    def fail(*job):
        raise error

    monkeypatch.setattr(_worker, "_train", fail)
    found = _worker.measure(a_job(Switches()))
    assert found["status"] == "failed" and found["out_of_memory"] and found["reason"].startswith("out of memory")


def test_another_error_is_not_hidden(monkeypatch):
    monkeypatch.setattr(_worker, "_train", lambda *job: (_ for _ in ()).throw(RuntimeError("illegal memory access")))
    with pytest.raises(RuntimeError, match="illegal"):
        _worker.measure(a_job(Switches()))


# --- Peaks, names ---


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("Tesla T4", "float16", 65), ("Tesla T4", "bfloat16", None), ("Tesla V100-SXM2-16GB", "float16", 125),
        ("Tesla V100-PCIE-32GB", "float32", 14), ("NVIDIA A100-SXM4-40GB", "bfloat16", 312),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5), ("NVIDIA H100 PCIe", "tf32", 378),
        ("NVIDIA H100 NVL", "tf32", None),
        ("NVIDIA H200", "float32", 67), ("NVIDIA L4", "bfloat16", 121), ("NVIDIA L40S", "bfloat16", None),
        ("NVIDIA GH200 480GB", "bfloat16", None), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
    ],
)  # fmt: skip
def test_published_peaks(name, precision, tera):
    found = card_peak(name, precision)
    assert found is None if tera is None else found[0] == pytest.approx(tera * TERA) and "datasheet" in found[1]
    assert len({peak.card for peak in CARD_PEAKS}) == len(CARD_PEAKS)


def test_a_product_is_counted(monkeypatch):
    """A clock that gives each of the products a second, and one of them half: the best one counts."""
    ticks = iter(tick for i in range(_product.REPEATS) for tick in (10.0 * i, 10.0 * i + (0.5 if i == 3 else 1.0)))
    monkeypatch.setattr(_product.time, "perf_counter", lambda: next(ticks))
    assert _product.measure("bfloat16", size=4)["flops"] == 2 * 4**3 / 0.5


def test_rungs_stand_in_their_order():
    assert in_order(["compile", "float32"], "cpu") == ("float32", "compile")
    assert in_order(None, "cuda") == tuple(RUNGS) and "tf32" not in in_order(None, "cpu")
    assert sum(asdict(on_rung("larger-batch")).values()) == len(names_for("cpu")) - 1
    for wrong in (["float64"], [], "float64"):
        with pytest.raises(ValueError, match="rungs are float32, tf32"):
            in_order(wrong, "cpu")

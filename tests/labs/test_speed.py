"""The ablation's steps: each computes what the first does, padding is never believed in, and a wrong step is caught."""

import math
from dataclasses import asdict

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, next_token_loss
from helpers.labs import speed
from tests.support import refused

# distinct primes, so that a transposed axis cannot pass
TINY = GPTConfig(vocab_size=101, context_length=17, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0)
B, T = 5, 13
ON_CPU = speed.ablation.in_order(None, "cpu")
SETTINGS = {
    "config": asdict(TINY), "batch_size": B, "timed_batch_size": B, "context_length": T, "updates": 2, "device": "cpu",
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """These models are too small for two, whose waiting for each other would take most of the time."""
    torch.set_num_threads(1)


def measured(*changes: str, **settings) -> dict:
    torch.manual_seed(0)
    return speed.update.measure_update(changes, **SETTINGS | settings)


def trained(changes=(), mean_loss=None, learning_rate=3e-4, **building) -> dict:
    """Three updates with parts handed in, as `measure_update` reports them."""
    torch.manual_seed(0)
    model = speed.update.build(TINY, changes, "cpu", **building)
    loss = mean_loss or speed.update.loss_of(TINY.vocab_size, changes)
    update = speed.update.make_update(model, loss, changes, learning_rate)
    found = [update(*batch, with_norms=True) for batch in speed.update.make_batches(TINY.vocab_size, [B] * 3, T, "cpu")]
    precision = "bfloat16" if "half" in changes else "float32"
    losses, norms = [loss for loss, _ in found], [norm for _, norms in found for norm in norms]
    return {"precision": precision, "losses": losses, "grad_norms": norms}


@pytest.fixture(scope="module")
def first() -> dict:
    torch.set_num_threads(1)
    return measured("float32")


@pytest.mark.parametrize("name", ON_CPU)
def test_each_step_computes_what_the_first_does(name, first, monkeypatch):
    monkeypatch.setattr(speed.machine, "has_bfloat16", lambda cpuinfo: True)
    changes = [step for step in ON_CPU[: ON_CPU.index(name) + 1] if step != "compile"]  # takes a minute
    found = measured(*changes, timed_batch_size=2 * B if name == "larger-batch" else B)
    assert speed.ablation.compare(found, first)[0], speed.ablation.compare(found, first)
    assert found["precision"] == ("float32" if name == "float32" else "bfloat16")
    assert len(found["losses"]) == 3 and len(found["speeds"]) == 2
    assert abs(found["losses"][0] - math.log(TINY.vocab_size)) < 0.2


@pytest.mark.parametrize("change", ["fused-attention", "fused-adamw", "chunked-loss", "padded-vocabulary"])
def test_in_float32_a_change_alone_moves_nothing(change, first):
    found = measured(change)
    assert found["losses"] == pytest.approx(first["losses"], rel=2e-6)
    assert found["grad_norms"] == pytest.approx(first["grad_norms"], rel=1e-5)


def test_the_baseline_is_not_fused():
    attention = speed.update.build(TINY, (), "cpu").blocks[0].attention
    assert type(attention) is speed.update.UnfusedAttention
    with pytest.raises(ValueError, match="no cache and no segments"):
        attention(torch.randn(B, T, 21), None, torch.ones(B, 1, T, T, dtype=torch.bool))
    optimizers, real = [], torch.optim.AdamW
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.optim, "AdamW", lambda *a, **k: optimizers.append(k) or real(*a, **k))
        speed.update.make_update(GPT(TINY), next_token_loss, ())
    assert (optimizers[-1]["fused"], optimizers[-1]["foreach"]) == (False, False)


class NoMask(speed.update.UnfusedAttention):
    def forward(self, x, *context):
        q, k, v = (p.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        weights = torch.softmax(q @ k.transpose(2, 3) / q.shape[3] ** 0.5, dim=-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class NoScale(speed.update.UnfusedAttention):
    def forward(self, x, *context):
        q, k, v = (p.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def unmasked(model: GPT, token_ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return next_token_loss(model(token_ids), targets)


@pytest.mark.parametrize("half", [(), ("half",)])
@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ((), {"attention": NoMask}),
        ((), {"attention": NoScale}),
        (("padded-vocabulary",), {"mean_loss": unmasked}),
        ((), {"learning_rate": 1e-9}),
    ],
)
def test_an_injected_bug_is_caught(changes, wrong, half, first, monkeypatch):
    monkeypatch.setattr(speed.machine, "has_bfloat16", lambda cpuinfo: True)
    assert speed.ablation.compare(trained([*changes, *half]), first)[0]
    agrees, words = speed.ablation.compare(trained([*changes, *half], **wrong), first)
    assert not agrees and words.startswith("DIFFERS")


EXACT = {"precision": "float32", "losses": [4.0, 2.0], "grad_norms": [1.0, 1.0]}
HALF, NEAR = {"precision": "bfloat16"}, {"losses": [4.0, 2.001]}


@pytest.mark.parametrize(
    ("found", "first", "agree"),
    [
        (EXACT, EXACT, True),
        (STILL := EXACT | {"grad_norms": [0.0, 1.0]}, STILL, True),  # a gradient may be 0
        (EXACT | {"losses": []}, EXACT | {"losses": []}, False),
        (EXACT | NEAR, EXACT, False),
        (EXACT | NEAR | HALF, EXACT, True),
        (EXACT | NEAR, EXACT | HALF, True),  # the coarser of the two decides
        (EXACT | HALF | {"losses": [4.0]}, EXACT, False),
        (EXACT | HALF | {"losses": [4.0, math.nan]}, EXACT, False),
        (EXACT | HALF | {"losses": [4.0, math.inf]}, EXACT, False),
        (EXACT | HALF | {"grad_norms": [1.0, 1.05]}, EXACT, False),
    ],
)
def test_the_check_knows_its_precision(found, first, agree):
    assert speed.ablation.compare(found, first)[0] == agree


@pytest.mark.parametrize(
    ("capability", "triton", "changes", "says", "precision"),
    [
        ((7, 5), None, ["tf32"], "8.0", "tf32"),
        ((7, 5), None, ["half"], None, "float16"),
        ((8, 0), None, ["tf32", "half"], None, "bfloat16"),
        ((8, 0), None, ["compile"], "Triton", "float32"),
        ((8, 0), "there", ["compile"], None, "float32"),
    ],
)
def test_gpus(capability, triton, changes, says, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: triton)
    if says:
        refused(says, speed.update.require, changes, "cuda", error=speed.harness.Skip)
    else:
        speed.update.require(changes, "cuda")
    assert speed.update.precision_of(changes, "cuda") == precision


def test_what_a_cpu_lacks_is_said(monkeypatch):
    monkeypatch.setattr(speed.machine, "has_bfloat16", lambda cpuinfo: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    for change, says in (("half", "bfloat16"), ("compile", r"C\+\+ compiler"), ("tf32", "TF32")):
        refused(says, measured, change, error=speed.harness.Skip)


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("Tesla T4", "float16", 65), ("Tesla T4", "bfloat16", None), ("Tesla V100-PCIE-32GB", "float32", 14),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", 312), ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5),
        ("NVIDIA H100 NVL", "tf32", None), ("NVIDIA L40S", "bfloat16", None), ("NVIDIA GH200 480GB", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
    ],
)  # fmt: skip
def test_published_peaks(name, precision, tera):
    found = speed.machine.gpu_peak(name, precision)
    assert found is None if tera is None else found["flops"] == tera * 1e12 and "datasheet" in found["source"]


def test_the_processor_and_the_peak_of_memory_are_read():
    intel = "model name\t: A 7 Processor\nflags\t\t: sse avx512_bf16 x\n"
    assert speed.machine.cpu_model(intel) == "A 7 Processor" and speed.machine.cpu_model("")
    assert speed.machine.has_bfloat16(intel) and speed.machine.has_bfloat16("Features\t: fp asimd bf16\n")
    for cpuinfo in ("flags\t\t: sse avx512_bf16x avx512f\n", ""):
        assert not speed.machine.has_bfloat16(cpuinfo)
    before = speed.machine.peak_resident_bytes()
    torch.ones(2**26 // 4 + (before // 4))  # above everything this process has held so far
    assert speed.machine.peak_resident_bytes() >= before + 2**26

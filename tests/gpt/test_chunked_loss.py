"""The loss without all its scores: cross-entropy and its gradients in every layout, small memory, no stray column."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.gpt import IGNORED_TARGET, loss_from_hidden
from tests.support import refusals_of, refused

WIDEST = 112  # numbers to which 101 scores are filled up: a multiple of the longest vector's 16


def hidden_case(shape=(2, 5), C=3, V=11, masked=1):
    """hidden (B, T, C), head_weight (V, C), targets (B, T), none, some or all of them masked."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(*shape, C, generator=generator, requires_grad=True)
    weight = torch.randn(V, C, generator=generator, requires_grad=True)
    targets = torch.randint(V, shape, generator=generator)
    if masked:
        targets[0 if masked == 1 else ..., :: 2 if masked == 1 else 1] = IGNORED_TARGET
    return hidden, weight, targets


def from_logits(hidden, weight, targets):
    return F.cross_entropy((hidden @ weight.T).flatten(0, 1).float(), targets.flatten(), reduction="sum")


CASES = [({"masked": n}, {"chunk_tokens": size}, "float32", 1e-5) for n in range(3) for size in (1, 3, 5, 10, 999)]
# a CPU scores 16 positions at a time, adds gradients of 2,048 tokens at a time: here 33 and 2,053
CASES += [({"shape": (1, 33), "V": 2053}, {}, *limits) for limits in (("float32", 1e-5), ("bfloat16", 2e-2))]


@pytest.mark.parametrize(("case", "settings", "precision", "within"), CASES)
def test_is_cross_entropy_with_its_gradients(case, settings, precision, within):
    hidden, weight, targets = hidden_case(**case)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        value = loss_from_hidden(hidden, weight, targets, **settings)
    assert value.dtype == torch.float32
    expected = from_logits(hidden, weight, targets)
    torch.testing.assert_close(value, expected, rtol=within, atol=within)
    scale = 7 if precision == "float32" else 1  # as a loss scale, or a part of a larger loss
    got, wanted = (torch.autograd.grad(scale * x, (hidden, weight)) for x in (value, expected))
    torch.testing.assert_close(got, wanted, rtol=within, atol=within)


def test_by_hand_of_large_scores_and_of_masked_nonsense():
    hidden, weight = torch.tensor([[[1.0], [2.0]]]).log(), torch.tensor([[0.0], [1.0]])  # odds 1 : 1, then 1 : 2
    value = loss_from_hidden(hidden, weight, torch.tensor([[0, 1]]))
    assert value.item() == pytest.approx(math.log(2) + math.log(1.5))
    hidden = torch.tensor([[[0.0], [1e4], [math.nan]]], requires_grad=True)
    value = loss_from_hidden(hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([[0, 1, IGNORED_TARGET]]))
    value.backward()
    assert value.item() == pytest.approx(math.log(2) + 2e4)
    assert hidden.grad[0, :2, 0].tolist() == [-1.0, 2.0]


@pytest.mark.parametrize(
    "use",
    [
        lambda loss, hidden, weight, targets: loss(hidden.detach(), weight, targets),
        lambda loss, hidden, weight, targets: loss(hidden, weight.detach(), targets),
        lambda loss, hidden, weight, targets: loss(hidden, weight, targets) + 3 * loss(hidden * 2, weight, targets),
        lambda loss, hidden, weight, targets: loss(torch.tanh(weight[torch.arange(10).view(2, 5)]), weight, targets),
    ],
    ids=["the matrix's gradient only", "hidden's only", "twice in one graph", "the matrix is the embedding too"],
)
def test_inside_a_larger_graph(use):
    hidden, weight, targets = hidden_case()
    values = [use(loss, hidden, weight, targets) for loss in (loss_from_hidden, from_logits)]
    got, wanted = (torch.autograd.grad(v, (hidden, weight), retain_graph=True, allow_unused=True) for v in values)
    for a, b in zip(got, wanted, strict=True):
        assert (a is None) == (b is None)
        torch.testing.assert_close(a, b) if a is not None else None
    refused("call it again", values[0].backward, error=RuntimeError)


class Watch(TorchDispatchMode):
    """The most numbers that any operation inside the block has put out at once; how many tensors were not filled."""

    largest = uninitialised = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.uninitialised += function in (torch.ops.aten.new_empty.default, torch.ops.aten.empty.memory_format)
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


def test_never_holds_all_scores():
    hidden, weight, targets = hidden_case((4, 25), C=3, V=101)
    for function, most in ((loss_from_hidden, 7 * WIDEST), (from_logits, 100 * 101)):
        with Watch() as seen:
            arguments = {"chunk_tokens": 7} if function is loss_from_hidden else {}
            function(hidden, weight, targets, **arguments).backward()
        assert seen.largest == most
    with torch.no_grad(), Watch() as seen:
        value = loss_from_hidden(hidden, weight, targets)
    assert not seen.uninitialised, "with AMX oneDNN reads the columns that fill a row up, and 0 * NaN is NaN"
    with torch.no_grad():
        torch.testing.assert_close(value, from_logits(hidden, weight, targets))
    assert not value.requires_grad


test_refuses = refusals_of(
    lambda changes: loss_from_hidden(
        **dict(zip(("hidden", "head_weight", "targets"), hidden_case(), strict=True)) | changes
    ),
    ({"hidden": torch.zeros(5, 3)}, r"hidden \(B, T, C\)"),
    ({"head_weight": torch.zeros(11, 2)}, r"\(11, 2\)"),
    ({"targets": torch.zeros(2, 4, dtype=torch.int64)}, r"\(2, 4\)"),
    ({"targets": torch.full((2, 5), 11)}, r"\[0, 11\), got 11"),
    ({"targets": torch.full((2, 5), -1)}, "got -1"),
    ({"chunk_tokens": 0}, "chunk_tokens must be"),
)

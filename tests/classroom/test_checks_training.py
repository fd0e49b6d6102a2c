"""The checks of notebook 04: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from tests import exercises


def accumulate(model, micro_batches, clear=True, mean_of_means=False, skip_mask=True, divide=True, step=False):
    """Right as it stands; each switch plants one mistake."""
    if clear:
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
    n_scored = sum(int((y != -100).sum()) for _, y in micro_batches)
    for x, y in micro_batches:
        losses = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="none")
        if mean_of_means:
            (losses.sum() / max(int((y != -100).sum()), 1) / len(micro_batches)).backward()
        else:
            n = n_scored if skip_mask else sum(y.numel() for _, y in micro_batches)
            (losses.sum() / (n if divide else 1)).backward()
    if step:
        torch.optim.SGD(model.parameters(), lr=0.1).step()


def one_backward_at_the_end(model, micro_batches):
    """The right gradient, and the graphs of all micro-batches in memory until the end."""
    model.zero_grad()
    n_scored = sum(int((y != -100).sum()) for _, y in micro_batches)
    total = sum(F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum") for x, y in micro_batches)
    (total / n_scored).backward()


def all_at_once(model, micro_batches):
    width = max(x.shape[1] for x, _ in micro_batches)
    rows = [F.pad(x, (0, width - x.shape[1])) for x, _ in micro_batches]
    wanted = [F.pad(y, (0, width - y.shape[1]), value=-100) for _, y in micro_batches]
    accumulate(model, [(torch.cat(rows), torch.cat(wanted))])


def rate(step, peak, floor, n_steps, warmup_steps, first=1, last=1, hold=True, through=False):
    if step < warmup_steps or (through and step == warmup_steps):
        return peak * (step + first) / warmup_steps
    done = (step - warmup_steps) / (n_steps - last - warmup_steps)
    done = min(done, 1.0) if hold else done
    return floor + (peak - floor) * (1 + math.cos(math.pi * done)) / 2


def looks_ahead(model, token_ids, vocab_size):
    """Right by another way: cut the text off and see whether what is left is scored as before."""
    whole = model(token_ids)
    return any(
        not torch.allclose(model(token_ids[:, :n]), whole[:, :n], atol=1e-5) for n in range(1, token_ids.shape[1])
    )


def first_position_only(model, token_ids, vocab_size):
    changed = token_ids.clone()
    changed[:, 1:] = (changed[:, 1:] + 1) % vocab_size
    return not torch.allclose(model(changed)[:, 0], model(token_ids)[:, 0])


def last_token_only(model, token_ids, vocab_size):
    changed = token_ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % vocab_size
    return not torch.allclose(model(changed)[:, :-1], model(token_ids)[:, :-1])


def adamw(w, gradients, lr, beta1, beta2, eps, weight_decay, corrected=True, l2=False, inside=False, late=False):
    """The moments as sums over all gradients so far, instead of running averages; each switch plants a mistake."""
    for t in range(1, len(gradients) + 1):
        if l2:
            gradients[t - 1] += weight_decay * w
        m = sum((1 - beta1) * beta1 ** (t - i) * gradients[i - 1] for i in range(1, t + 1))
        v = sum((1 - beta2) * beta2 ** (t - i) * gradients[i - 1] ** 2 for i in range(1, t + 1))
        if corrected:
            m, v = m / (1 - beta1**t), v / (1 - beta2**t)
        moved = w - lr * m / (math.sqrt(v + eps) if inside else math.sqrt(v) + eps)
        w = moved if l2 else moved - lr * weight_decay * (moved if late else w)
    return w


RIGHT_ANSWERS = {
    "t2-accumulate": accumulate,
    "t3-cosine-rate": rate,
    "t5-sees-the-future": looks_ahead,
    "t3-adamw": adamw,
}
MISTAKES = [
    ("t2-accumulate", lambda m, b: accumulate(m, b, mean_of_means=True), "count the same"),
    ("t2-accumulate", lambda m, b: accumulate(m, b, clear=False), "was in .grad before"),
    ("t2-accumulate", lambda m, b: accumulate(m, b, skip_mask=False), "masked targets"),
    ("t2-accumulate", lambda m, b: accumulate(m, b, divide=False), "times as much"),
    ("t2-accumulate", lambda m, b: accumulate(m, b, step=True), "weights have changed"),
    ("t2-accumulate", lambda m, b: accumulate(m, b[-1:]), "equal size"),
    ("t2-accumulate", lambda m, b: m.zero_grad(), "no gradient at all"),
    ("t2-accumulate", all_at_once, "at once"),
    ("t2-accumulate", one_backward_at_the_end, "backward() inside the loop"),
    ("t3-cosine-rate", lambda *a: rate(*a, first=0), "update 0 already moves"),
    ("t3-cosine-rate", lambda *a: rate(*a, last=0), "the floor"),
    ("t3-cosine-rate", lambda *a: rate(*a, hold=False), "stays where it was"),
    ("t3-cosine-rate", lambda *a: rate(*a, through=True), "warm-up 0, peak 1, floor 0: your function raised ZeroDiv"),
    ("t3-cosine-rate", lambda step, peak, floor, n, w: rate(step, peak, 0, n, w), "floor 1"),
    ("t5-sees-the-future", first_position_only, "last token"),
    ("t5-sees-the-future", last_token_only, "first position only"),
    ("t5-sees-the-future", lambda *a: True, "expected False"),
    ("t5-sees-the-future", lambda *a: False, "without a mask"),
    ("t3-adamw", lambda *a: adamw(*a, corrected=False), "started at 0"),
    ("t3-adamw", lambda *a: adamw(*a, l2=True), "stays out of the means"),
    ("t3-adamw", lambda *a: adamw(*a, inside=True), "outside the root"),
    ("t3-adamw", lambda *a: adamw(*a, late=True), "the weight before the step"),
    ("t3-adamw", lambda *a: a[0] / 0, "decay 0.0: your function raised ZeroDivisionError"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

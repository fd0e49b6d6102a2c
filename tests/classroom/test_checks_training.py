"""The checks of notebook 04: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import numpy as np
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


def with_the_model_twice(model, micro_batches):
    model.zero_grad(set_to_none=False)
    n = sum((y != -100).sum() for _, y in micro_batches)
    for x, y in micro_batches:
        losses = F.cross_entropy(model(x).view(-1, model(x).size(-1)), y.view(-1), ignore_index=-100, reduction="sum")
        torch.div(losses, n).backward()


def by_torch_autograd(model, micro_batches):
    parameters = list(model.parameters())
    total, n = [torch.zeros_like(p) for p in parameters], sum((y >= 0).sum().item() for _, y in micro_batches)
    for x, y in micro_batches:
        log_probs = model(x).log_softmax(-1)
        summed = -log_probs.gather(-1, y.clamp(min=0)[..., None])[..., 0][y >= 0].sum()
        total = [t + g for t, g in zip(total, torch.autograd.grad(summed, parameters), strict=True)]
    for p, g in zip(parameters, total, strict=True):
        p.grad = g / n


def rate_by_interpolation(step, peak, floor, n_steps, warmup_steps):
    if step < warmup_steps:
        return np.interp(step, [0, warmup_steps - 1], [peak / warmup_steps, peak]) if warmup_steps > 1 else peak
    angle = np.pi * np.clip((step - warmup_steps) / (n_steps - 1 - warmup_steps), 0, 1)
    return (peak + floor) / 2 + (peak - floor) / 2 * np.cos(angle)


def rate_in_float32(step, peak, floor, n_steps, warmup_steps):
    peak, floor = np.float32(peak), np.float32(floor)
    if step < warmup_steps:
        return peak * np.float32((step + 1) / warmup_steps)
    done = np.minimum(np.float32(step - warmup_steps) / np.float32(n_steps - warmup_steps - 1), np.float32(1))
    return floor + np.float32(0.5) * (peak - floor) * (1 + np.cos(np.float32(np.pi) * done))


def looks_in_numpy(model, token_ids, vocab_size):
    before, found = model(token_ids).numpy(), np.bool_(False)
    for t in range(1, token_ids.shape[1]):
        changed = token_ids.numpy().copy()
        changed[:, t] = (changed[:, t] + 3) % vocab_size
        found |= np.any(np.abs(model(torch.from_numpy(changed)).numpy() - before)[:, :t] > 1e-6)
    return found


def looks_with_a_tensor(model, token_ids, vocab_size):
    T = token_ids.shape[1]
    moved = [token_ids.index_copy(1, torch.tensor([t]), (token_ids[:, [t]] + 1) % vocab_size) for t in range(T)]
    gaps = torch.stack([(model(ids) - model(token_ids)).abs().sum((0, 2)) for ids in moved])  # (changed, looked at)
    return gaps.tril(-1).sum() > 0


def running_adamw(w, gradients, lr, beta1, beta2, eps, weight_decay, number=float, root=math.sqrt):
    w, m, v = number(w), number(0), number(0)
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * number(g), beta2 * v + (1 - beta2) * number(g) ** 2
        w = w * (1 - lr * weight_decay) - lr * (m / (1 - beta1**t)) / (root(v / (1 - beta2**t)) + eps)
    return w


def torch_adamw(w, gradients, lr, beta1, beta2, eps, weight_decay):
    p = torch.nn.Parameter(torch.tensor(float(w)))
    optimizer = torch.optim.AdamW([p], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
    for g in gradients:
        p.grad = torch.tensor(float(g))
        optimizer.step()
    return p


def by_a_line(small_norms, large_norms, small, large):
    """The mean square is a straight line over 1 / B: its intercept is |G|², its slope the noise."""
    squares = [torch.tensor(norms, dtype=torch.float64).square().mean() for norms in (small_norms, large_norms)]
    slopes = torch.tensor([[1, 1 / small], [1, 1 / large]], dtype=torch.float64)
    line = torch.linalg.solve(slopes, torch.stack(squares))
    return line[1] / line[0] if line[0] > 0 else math.inf


def scale(small_norms, large_norms, small, large, *, squared=True, own_noise=True, upside_down=False, bound=True):
    means = [sum(x * x for x in norms) / len(norms) for norms in (small_norms, large_norms)]
    if not squared:
        means = [(sum(norms) / len(norms)) ** 2 for norms in (small_norms, large_norms)]
    sigma2 = (means[0] - means[1]) / (1 / small - 1 / large)
    G2 = means[1] - (sigma2 / large if own_noise else 0)
    if bound and G2 <= 0:
        return math.inf
    return G2 / sigma2 if upside_down else sigma2 / G2


def rates(n_steps, peak, floor, warmup_steps, decay_steps, *, first=1, last=0, kept=0):
    def rate(step):
        rising = (step + first) / warmup_steps if step < warmup_steps else 1
        left = (n_steps - 1 - step + last) / decay_steps if step >= n_steps - decay_steps else 1
        return peak * rising if rising < 1 else floor + (peak - floor) * left

    return [rate(step) for step in range(n_steps - kept)]


def scale_in_float32(small_norms, large_norms, small, large):
    a, b = torch.tensor(small_norms).square().mean(), torch.tensor(large_norms).pow(2).mean()
    G2, sigma2 = (large * b - small * a) / (large - small), (a - b) * small * large / (large - small)
    return sigma2 / G2 if G2 > 0 else torch.tensor(torch.inf)


def rates_in_float32(n_steps, peak, floor, warmup_steps, decay_steps):
    step = torch.arange(n_steps)
    rising = ((step + 1) / max(warmup_steps, 1)).clamp(max=1)
    left = ((n_steps - 1 - step) / max(decay_steps, 1)).clamp(max=1) if decay_steps else torch.ones(n_steps)
    return torch.where(step < warmup_steps, peak * rising, floor + (peak - floor) * left)


def rates_between_knots(n_steps, peak, floor, warmup_steps, decay_steps):
    knots = [-1, warmup_steps - 1, n_steps - 1 - decay_steps, n_steps - 1 + (decay_steps == 0)]
    return np.interp(range(n_steps), knots, [0, peak, peak, floor])


RIGHT_ANSWERS = {
    "t2-accumulate": [accumulate, with_the_model_twice, by_torch_autograd],
    "t3-cosine-rate": [
        rate,
        rate_by_interpolation,
        rate_in_float32,
    ],
    "t5-sees-the-future": [looks_ahead, looks_in_numpy, looks_with_a_tensor],
    "t3-adamw": [adamw, torch_adamw, lambda *a: running_adamw(*a, number=np.float32, root=np.sqrt)],
    "t2-noise-scale": [by_a_line, scale, scale_in_float32],
    "t3-wsd-rates": [lambda *a: torch.tensor(rates(*a), dtype=torch.float64), rates_in_float32, rates_between_knots],
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
    ("t3-cosine-rate", lambda s, p, f, n, w: rate(s + 1, p, f, n, w), "uses the peak"),
    ("t3-cosine-rate", lambda *a: rate(*a, through=True), "warm-up 0, peak 1, floor 0: your function raised ZeroDiv"),
    ("t3-cosine-rate", lambda step, peak, floor, n, w: rate(step, peak, 0, n, w), "floor 1"),
    ("t5-sees-the-future", first_position_only, "last token"),
    ("t5-sees-the-future", last_token_only, "first position only"),
    ("t5-sees-the-future", lambda *a: True, "expected False"),
    ("t5-sees-the-future", lambda *a: str(looks_ahead(*a)), "expected True or False, got 'False' (str)"),
    ("t5-sees-the-future", lambda m, x, V: looks_ahead(m, x.zero_(), V), "Change a copy"),
    ("t5-sees-the-future", lambda m, x, V: bool((m((x + 1) % V) != m(x)).any()), "after it"),
    ("t5-sees-the-future", lambda m, x, V: looks_ahead(m, x[:, :2], V), "Which later token"),
    ("t5-sees-the-future", lambda *a: False, "without a mask"),
    ("t3-adamw", lambda *a: adamw(*a, corrected=False), "started at 0"),
    ("t3-adamw", lambda *a: adamw(*a, l2=True), "stays out of the means"),
    ("t3-adamw", lambda *a: adamw(*a, inside=True), "outside the root"),
    ("t3-adamw", lambda w, g, lr, *rest: adamw(w, g[-1:], lr, *rest), "made anew at each step"),
    ("t3-adamw", lambda *a: adamw(*a[:-1], 0), "with decay: "),
    ("t3-adamw", lambda w, g, lr, b1, b2, e, d: w - (w - adamw(w, g, lr, b1, b2, e, 0)) - d * w, "times the rate"),
    ("t3-adamw", lambda *a: adamw(*a, late=True), "the weight before the step"),
    ("t3-adamw", lambda *a: a[0] / 0, "decay 0.0: your function raised ZeroDivisionError"),
    ("t2-noise-scale", lambda *a: scale(*a, squared=False), "square of the mean norm"),
    ("t2-noise-scale", lambda *a: scale(*a, own_noise=False), "still contains noise"),
    ("t2-noise-scale", lambda *a: scale(*a, upside_down=True), "above the fraction's line"),
    ("t2-noise-scale", lambda *a: scale(*a, bound=False), "math.inf"),
    ("t2-noise-scale", lambda a, b, small, large: scale(b, a, small, large), "two equations"),
    ("t3-wsd-rates", lambda *a: rates(*a, first=0), "update 0 already moves"),
    ("t3-wsd-rates", lambda *a: rates(*a, last=1), "already below the peak"),
    ("t3-wsd-rates", lambda *a: rates(*a, kept=1), "expected 10 rates, got 9"),
    ("t3-wsd-rates", lambda n, peak, floor, w, d: rates(n, peak, 0.0, w, d), "at the floor"),
    ("t3-wsd-rates", lambda n, *a: 0.5, "got 0.5 (float)"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

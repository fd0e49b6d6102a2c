"""The checks of notebook 04: other right answers pass, planted mistakes do not."""

import numpy as np
import torch
import torch.nn.functional as F

from helpers.gpt import Schedule
from tests import exercises


def all_at_once(accumulate, model, micro_batches):
    width = max(x.shape[1] for x, _ in micro_batches)
    rows = [F.pad(x, (0, width - x.shape[1])) for x, _ in micro_batches]
    wanted = [F.pad(y, (0, width - y.shape[1]), value=-100) for _, y in micro_batches]
    accumulate(model, [(torch.cat(rows), torch.cat(wanted))])


def looks_at_what_is_cut_off(model, ids, vocab_size):
    cuts = range(1, ids.shape[1])
    return not all(torch.allclose(model(ids[:, :n]), model(ids)[:, :n], atol=1e-5) for n in cuts)


def torch_adamw(w, gradients, lr, beta1, beta2, eps, weight_decay):
    p = torch.nn.Parameter(torch.tensor(float(w)))
    optimizer = torch.optim.AdamW([p], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
    for g in gradients:
        p.grad = torch.tensor(float(g))
        optimizer.step()
    return p


def rates_between_knots(n_steps, peak, floor, warmup_steps, decay_steps):
    knots = [-1, warmup_steps - 1, n_steps - 1 - decay_steps, n_steps - 1 + (decay_steps == 0)]
    return np.interp(range(n_steps), knots, [0, peak, peak, floor])


MODEL = "model(token_ids).flatten(0, 1)"
RIGHT_ANSWERS = {
    "t2-accumulate": [
        (MODEL, "model(token_ids).view(-1, model(token_ids).size(-1))"),
        ("model.zero_grad()", "model.zero_grad(set_to_none=False)",
         "(summed / n_scored).backward()",
         "for p, g in zip(model.parameters(), torch.autograd.grad(summed / n_scored, [*model.parameters()])):\n"
         "            p.grad += g"),
        ("(summed / n_scored).backward()",
         "summed.backward()\n    for p in model.parameters():\n        p.grad /= n_scored"),
    ],
    "t3-cosine-rate": [
        ("floor + (peak - floor) * (1 + math.cos(math.pi * done)) / 2",
         "(peak + floor) / 2 + (peak - floor) / 2 * np.cos(np.pi * done)"),
        ("    if step", "    peak, floor = np.float32(peak), np.float32(floor)\n    if step"),
        ("(1 + math.cos(math.pi * done)) / 2", "math.cos(math.pi / 2 * done) ** 2"),
        lambda step, peak, floor, n_steps, warmup_steps: Schedule(peak, n_steps, warmup_steps, floor / peak)(step),
    ],
    "t5-sees-the-future": [
        looks_at_what_is_cut_off,
        ("torch.allclose(model(changed)[:, :place], before[:, :place], atol=1e-5)",
         "np.allclose(model(changed).numpy()[:, :place], before.numpy()[:, :place], atol=1e-5)"),
        ("changed[:, place] = (changed[:, place] + 1)", "changed[:, place:] = (changed[:, place:] + 1)"),
    ],
    "t3-adamw": [
        torch_adamw,
        ("m = v = 0.0", "w, m, v = np.float32(w), np.float32(0), np.float32(0)"),
        ("w - lr * (ratio + weight_decay * w)", "w * (1 - lr * weight_decay) - lr * ratio"),
        ("beta1 * m + (1 - beta1) * g", "(1 - beta1) * sum(beta1**i * gradients[t - 1 - i] for i in range(t))"),
        ("m / (1 - beta1**t) / ((v / (1 - beta2**t)) ** 0.5 + eps)",
         "(1 - beta2**t) ** 0.5 / (1 - beta1**t) * m / (v**0.5 + eps * (1 - beta2**t) ** 0.5)"),
    ],
    "t2-noise-scale": [
        ("(of_small - of_large) / (1 / small - 1 / large)",  # the slope of a straight line over 1 / B
         "np.linalg.solve([[1, 1 / small], [1, 1 / large]], [of_small, of_large])[1]"),
        ("sum(x * x for x in norms) / len(norms)", "torch.tensor(norms).square().mean()"),
        ("of_large - sigma2 / large", "(large * of_large - small * of_small) / (large - small)"),  # as in the paper
    ],
    "t3-wsd-rates": [
        rates_between_knots,
        ("[peak + (floor - peak) * k / decay_steps for k in range(1, decay_steps + 1)]",
         "np.linspace(peak, floor, decay_steps + 1)[1:]"),
        lambda n, peak, floor, up, down: [
            peak * (s + 1) / up if s < up else peak if s < n - down else floor + (peak - floor) * (n - 1 - s) / down
            for s in range(n)
        ],
    ],
}  # fmt: skip
MISTAKES = {
    "t2-accumulate": {
        "count the same": ("n_scored)", "max(int((targets != -100).sum()), 1) / len(micro_batches))"),
        "was in .grad before": ("model.zero_grad()", "pass"),
        "masked targets": ("int((targets != -100).sum())", "targets.numel()"),
        "times as much": (" / n_scored", ""),
        "the numbers are not": lambda right, m, b: (right(m, b), m.table.grad.copy_(m.table.grad.flip(1))),
        "weights have changed": lambda right, m, b: (right(m, b), torch.optim.SGD(m.parameters(), lr=0.1).step()),
        "equal size": lambda right, model, micro_batches: right(model, micro_batches[-1:]),
        "no gradient at all": lambda _, model, micro_batches: model.zero_grad(),
        "at once": all_at_once,
        "backward() inside the loop": (
            "model.zero_grad()", "model.zero_grad()\n    total = 0",
            "(summed / n_scored).backward()", "total = total + summed\n    (total / n_scored).backward()",
        ),
    },
    "t3-cosine-rate": {
        "update 0 already moves": ("(step + 1)", "step"),
        "the floor": ("n_steps - 1 -", "n_steps -"),
        "stays where it was": (", 1)", ", 9)"),
        "uses the peak": lambda right, step, *a: right(step + 1, *a),
        "warm-up 0, peak 1, floor 0: your function raised ZeroDiv": ("step < warmup", "step <= warmup"),
        "floor 1": lambda right, step, peak, floor, *a: right(step, peak, 0, *a),
    },
    "t5-sees-the-future": {
        "from the last token only": (
            "range(1, token_ids.shape[1])", "[1]",
            "changed[:, place] = (changed[:, place] + 1)", "changed[:, 1:] = (changed[:, 1:] + 1)",
        ),
        "first position only": ("range(1, token_ids.shape[1])", "[token_ids.shape[1] - 1]"),
        "expected False": lambda *_: True,
        "Change a copy": lambda right, model, token_ids, V: right(model, token_ids.zero_(), V),
        "after it": lambda _, model, ids, V: bool((model((ids + 1) % V) != model(ids)).any()),
        "Which later token": lambda right, model, token_ids, V: right(model, token_ids[:, :2], V),
        "without a mask": lambda *_: False,
    },
    "t3-adamw": {
        "started at 0": ("m / (1 - beta1**t) / ((v / (1 - beta2**t)) ** 0.5 + eps)", "m / (v**0.5 + eps)"),
        "stays out of the means": ("ratio + weight_decay * w", "ratio", "* m + (1 - beta1) * g",
                                   "* m + (1 - beta1) * (g := g + weight_decay * w)"),
        "outside the root": ("(v / (1 - beta2**t)) ** 0.5 + eps", "(v / (1 - beta2**t) + eps) ** 0.5"),
        "made anew at each step": lambda right, w, gradients, *a: right(w, gradients[-1:], *a),
        "with decay: ": lambda right, *a: right(*a[:-1], 0),
        "times the rate": ("lr * (ratio + weight_decay * w)", "lr * ratio - weight_decay * w"),
        "the weight before the step": (
            "w - lr * (ratio + weight_decay * w)", "(w - lr * ratio) * (1 - lr * weight_decay)",
        ),
        "decay 0.0: your function raised ZeroDivisionError": lambda _, w, *a: w / 0,
    },
    "t2-noise-scale": {
        "square of the mean norm": ("sum(x * x for x in norms) / len(norms)", "(sum(norms) / len(norms)) ** 2"),
        "still contains noise": (" - sigma2 / large", ""),
        "above the fraction's line": ("sigma2 / G2", "G2 / sigma2"),
        "math.inf": (" if G2 > 0 else math.inf", ""),
        "two equations": lambda right, small_norms, large_norms, *sizes: right(large_norms, small_norms, *sizes),
    },
    "t3-wsd-rates": {
        "update 0 already moves": ("range(1, warmup_steps + 1)", "range(warmup_steps)"),
        "already below the peak": ("range(1, decay_steps + 1)", "range(decay_steps)"),
        "expected 10 rates, got 9": lambda right, *a: right(*a)[:-1],
        "at the floor": lambda right, n_steps, peak, floor, *a: right(n_steps, peak, 0.0, *a),
    },
}  # fmt: skip

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)

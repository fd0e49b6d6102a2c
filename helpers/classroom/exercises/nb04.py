"""The checks of notebook 04's exercises: accumulation, the schedule, the view of the future, AdamW."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.classroom.exercises.grader import Mistake, Returned, apart, ask, expect, plain, register, typed

MASKED = -100
SAME_NORM = 5e-3  # relative difference that a factor of three digits does not show
Pair = tuple[Tensor, Tensor]


@register("t2-accumulate")
def accumulate(answer: Callable[[nn.Module, list[Pair]], None]) -> None:
    """The gradient of all micro-batches' targets in one batch, row by row of a bigram model's table."""
    cases = {
        "two micro-batches of equal size": [([[0, 1, 2]], [[1, 2, 3]]), ([[3, 3, 1]], [[3, 1, 0]])],
        "one token against six": [([[4]], [[0]]), ([[0, 1, 2], [2, 1, 0]], [[1, 2, 3], [1, 0, 4]])],
        "masked targets": [([[0, 1, 2]], [[1, MASKED, MASKED]]), ([[2, 2], [4, 1]], [[0, 3], [MASKED, 2]])],
        "a micro-batch without a target": [([[1, 2]], [[MASKED, MASKED]]), ([[0, 4]], [[4, 0]]), ([[3]], [[1]])],
    }
    for name, rows in cases.items():
        model = _Bigram(vocab_size=5)
        before = model.table.detach().clone()
        model.table.grad = torch.ones_like(before)  # left over from some other batch
        answer(model, [(torch.tensor(inputs), torch.tensor(targets)) for inputs, targets in rows])
        unchanged = torch.equal(model.table.detach(), before)
        expect(unchanged, f"{name}: the weights have changed; expected a gradient and no update")
        at_once = max((token_ids.numel() for token_ids in model.seen), default=0)
        most = max(len(inputs) * len(inputs[0]) for inputs, _ in rows)
        expect(at_once <= most, f"{name}: {at_once} tokens went through the model at once: one micro-batch at a time")
        if model.kept_graphs:
            raise Mistake(
                f"{name}: a micro-batch went through the model before the one before it had its backward(). All "
                "micro-batches' activations are still in memory: call backward() inside the loop"
            )
        inputs, targets = (torch.cat([torch.tensor(x).flatten() for x in parts]) for parts in zip(*rows, strict=True))
        F.cross_entropy(before.requires_grad_()[inputs], targets, ignore_index=MASKED).backward()
        got, wanted = model.table.grad, before.grad
        expect(got is not None, f"{name}: there is no gradient at all. Where is backward()?")
        left_over = torch.allclose(got - 1, wanted, atol=1e-5)
        expect(not left_over, f"{name}: what was in .grad before is still in it. When do you clear it?")
        if not torch.allclose(got, wanted, atol=1e-5):
            ratio = float(got.norm() / wanted.norm())
            if abs(ratio - 1) < SAME_NORM:
                token = int((got - wanted).abs().amax(1).argmax())
                row, came = apart(wanted[token].tolist(), got[token].tolist(), ".4f")
                raise Mistake(
                    f"{name}: the gradient norm is right, the numbers are not: after token {token} expected {row}, got "
                    f"{came}. Does each input have its own target?"
                )
            raise Mistake(
                f"{name}: expected a gradient norm of {float(wanted.norm()):.4f}, got {float(got.norm()):.4f} "
                f"({ratio:.3g} times as much). Does each scored token count the same, in whichever micro-batch it is?"
            )


@register("t3-cosine-rate")
def cosine_rate(answer: Callable[[int, float, float, int, int], float]) -> None:
    """The same curve from the square of a cosine: (1 + cos 2x) / 2 = cos(x)**2, the progress as a fraction."""
    for peak, floor, n_steps, warmup_steps in ((1.0, 0.0, 11, 0), (4.0, 1.0, 9, 3), (3e-4, 3e-5, 101, 20)):
        for step in [*range(n_steps), n_steps + 5]:
            case = f"step {step} of {n_steps}, warm-up {warmup_steps}, peak {peak:g}, floor {floor:g}"
            says = "The first update after the warm-up uses the peak, the last one of all the floor"
            if step < warmup_steps:
                expected = peak * float(Fraction(step + 1, warmup_steps))
                says = "In the warm-up, update 0 already moves, and the last one uses the peak"
            else:
                done = min(Fraction(step - warmup_steps, n_steps - 1 - warmup_steps), Fraction(1))
                cosine = 0 if done == 1 else math.cos(float(done) * math.pi / 2)  # in floats cos(pi / 2) is 6e-17
                expected = floor + (peak - floor) * cosine**2
            if step >= n_steps:
                says = "After the last update the rate stays where it was"
            got = ask(answer, case, step, peak, floor, n_steps, warmup_steps)
            got.number(expected, says, digits=".6g", abs_tol=peak * 1e-6)


@register("t5-sees-the-future")
def sees_the_future(answer: Callable[[Callable[[Tensor], Tensor], Tensor, int], bool]) -> None:
    """Models whose scores are a sum over the positions that a matrix lets each position see, so leaks are known."""
    T, V = 5, 7
    causal = torch.ones(T, T).tril()
    models = {
        "a model that sees the past and itself": causal,
        "a model that sees itself alone": torch.eye(T),
        "a model that sees the past only": causal - torch.eye(T),
        "a model without a mask": torch.ones(T, T),
        "a model whose mask is off by one": torch.ones(T, T).tril(1),
    }
    one_leak = {
        "a model that leaks into the first position only": (0, 1),
        "a model that leaks from the last token only": (2, T - 1),
        "a model that leaks from the last token to its neighbour": (T - 2, T - 1),
    }
    for name, place in one_leak.items():
        models[name] = causal.clone()
        models[name][place] = 1.0
    texts = {"": torch.tensor([[1, 6, 2, 0, 6], [3, 3, 3, 3, 3]])}
    texts |= {f", each token already {i}": torch.full((2, T), i) for i in range(V)}  # whoever writes an i changes none
    for (name, sees), (where, token_ids) in product(models.items(), texts.items()):
        given = token_ids.clone()
        got = ask(answer, name + where, _Seeing(sees, V), given, V).value
        unchanged = torch.equal(given, token_ids)
        expect(unchanged, f"{name}: the token_ids that you were given have changed. Change a copy: token_ids.clone()")
        leaks, said = bool(sees.triu(1).any()), plain(got)
        expect(said in (True, False), f"{name}{where}: expected True or False, got {typed(got)}")
        if said != leaks:
            thought = "A score may change at the position that you changed, and after it"
            if leaks:
                thought = "Which later token did you change, and which earlier score did you look at?"
            if leaks and where:
                thought = "Is your new token another one, whatever stood there?"
            raise Mistake(f"{name}{where}: expected {leaks}, got {bool(said)}. {thought}")


@register("t3-adamw")
def adamw(answer: Callable[..., float]) -> None:
    """torch's own AdamW, in float64, on one weight."""
    ratio = "Are both means corrected for having started at 0, and is the step the rate times their ratio?"
    anew = "Are the corrected means made anew at each step, while m and v go on uncorrected?"
    decay = "The decay uses the weight before the step, times the rate, and stays out of the means"
    outside = "Is ε outside the root, and added to the corrected one?"
    cases = {
        "one step": (ratio, 1.0, [0.5], 0.1, 0.9, 0.95, 1e-8, 0.0),
        "gradients that agree": (anew, 1.0, [0.5, 0.4, 0.6], 0.1, 0.9, 0.95, 1e-8, 0.0),
        "gradients that change their sign": (anew, -2.0, [3.0, -1.0, 0.5, -4.0], 0.05, 0.9, 0.999, 1e-8, 0.0),
        "with decay": (decay, 2.0, [1.0, 1.0], 0.1, 0.9, 0.95, 1e-8, 0.5),
        "decay and no gradient": (decay, 2.0, [0.0, 0.0, 0.0], 0.1, 0.9, 0.95, 1e-8, 0.5),
        "a large epsilon": (outside, 1.0, [0.01, 0.02], 0.1, 0.8, 0.9, 0.5, 0.0),
    }
    for name, (thought, w, gradients, lr, beta1, beta2, eps, weight_decay) in cases.items():
        weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.AdamW([weight], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
        for gradient in gradients:
            weight.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
        case = f"{name}: w = {w}, gradients {gradients}, lr {lr}, betas {beta1} and {beta2}, eps {eps}, "
        case += f"decay {weight_decay}"
        got = ask(answer, case, w, list(gradients), lr, beta1, beta2, eps, weight_decay)
        got.number(weight.item(), thought, digits=".6f")  # float32 will do


class _Bigram(nn.Module):
    """Scores looked up in a table: row a holds the scores of what follows token a. (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        values = [[((3 * a + 5 * b) % 7) / 4 for b in range(vocab_size)] for a in range(vocab_size)]
        self.table = nn.Parameter(torch.tensor(values))
        self.seen: list[Tensor] = []
        self.kept_graphs = False  # whether a backward came after the forward of a later micro-batch

    def forward(self, token_ids: Tensor) -> Tensor:
        self.seen.append(token_ids)
        scores, n_seen = self.table[token_ids], len(self.seen)

        def backward_comes(_gradient: Tensor) -> None:  # the same micro-batch may have gone through more than once
            self.kept_graphs |= any(not torch.equal(later, token_ids) for later in self.seen[n_seen:])

        if scores.requires_grad:
            scores.register_hook(backward_comes)
        return scores


class _Seeing:
    """Position t adds up the tokens of all positions s with sees[t, s] > 0: (B, T) -> (B, T, V)."""

    def __init__(self, sees: Tensor, vocab_size: int) -> None:
        self.sees, self.vocab_size = sees, vocab_size

    def __call__(self, token_ids: Tensor) -> Tensor:
        if token_ids.ndim != 2 or int(token_ids.min()) < 0 or int(token_ids.max()) >= self.vocab_size:
            raise ValueError(f"token ids are (B, T) in [0, {self.vocab_size}), got {token_ids.tolist()}")
        T = token_ids.shape[1]
        return self.sees[:T, :T] @ F.one_hot(token_ids, self.vocab_size).float()  # (T, T) @ (B, T, V)


@register("t2-noise-scale")
def noise_scale(answer: Callable[[list[float], list[float], int, int], float]) -> None:
    """Norms are made from a gradient and a noise that are known, so that the answer is their ratio."""
    cases = [("1 and 4 sequences", 1, 12, 1, 4), ("2 and 64", 3, 40, 2, 64), ("little noise", 25, 2, 1, 8)]
    cases += [("large batches that are no multiple of small ones", 2, 30, 4, 10), ("small numbers", 1e-6, 5e-6, 1, 16)]
    for name, G2, sigma2, small, large in cases:
        squares = [G2 + sigma2 / small, G2 + sigma2 / large]
        spreads = (-0.8, 0.8, -0.4, 0.4), (-0.2, 0.2, 0.0)  # of unequal width: the square of the mean is then another
        lists = [[math.sqrt(x * (1 + d)) for d in some] for x, some in zip(squares, spreads, strict=True)]
        of_means = [(sum(x) / len(x)) ** 2 for x in lists]
        slip_sigma2 = (of_means[0] - of_means[1]) / (1 / small - 1 / large)
        slips = {
            "Is it the mean of the squared norms, or the square of the mean norm?": (
                slip_sigma2 / (of_means[1] - slip_sigma2 / large)
            ),
            "Which of the two is above the fraction's line? The answer is a number of sequences": G2 / sigma2,
            "The mean square of the large batches still contains noise: how much?": sigma2 / squares[1],
        }
        case = f"{name}: batches of {small} and of {large}, norms {_short(lists[0])} and {_short(lists[1])}"
        says = "The mean of the squared norm is |G|² + σ²/B: two batch sizes give two equations"
        ask(answer, case, *lists, small, large).number(sigma2 / G2, says, slips=slips, unit=" sequences", abs_tol=0)
    case = "noise that hides the gradient: batches of 1 and of 4, norms [3.0, 3.0] and [1.0, 1.0]"
    says = "The estimate of |G|² is not above 0: no finite batch size, so math.inf"
    ask(answer, case, [3.0, 3.0], [1.0, 1.0], 1, 4).number(math.inf, says, unit=" sequences")


@register("t3-wsd-rates")
def wsd_rates(answer: Callable[[int, float, float, int, int], list[float]]) -> None:
    """Each rate from the updates behind it and before it, as fractions."""
    decay = "The first update of the decay is already below the peak, and the last one of all is at the floor"
    cases = [(10, 4, 1, 2, 3), (8, 1, 0, 0, 4), (6, 2, 1, 3, 0), (5, 1, 0, 2, 3), (7, 3, 3, 0, 0), (12, 1, 0, 1, 1)]
    for n_steps, peak, floor, warmup_steps, decay_steps in cases:
        case = f"{n_steps} updates, peak {peak}, floor {floor}, warm-up {warmup_steps}, decay {decay_steps}"
        got = ask(answer, case, n_steps, float(peak), float(floor), warmup_steps, decay_steps)
        for step, rate in enumerate(got.items(n_steps, "rates", "Does each update have one?")):
            left = n_steps - 1 - step  # updates after this one
            says = f"Update {step} is in the stable part, which has the peak"
            expected = Fraction(peak)
            if step < warmup_steps:
                expected = peak * Fraction(step + 1, warmup_steps)
                says = "In the warm-up, update 0 already moves, and the last one uses the peak"
            elif left < decay_steps:
                expected = floor + (peak - floor) * Fraction(left, decay_steps)
                says = decay
            Returned(rate, f"{case}, update {step}").number(float(expected), says, digits=".6g", abs_tol=1e-6)


def _short(numbers: list[float]) -> str:
    return "[" + ", ".join(f"{x:.4g}" for x in numbers) + "]"

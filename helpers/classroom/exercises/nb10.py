"""The checks of notebook 10's exercises; each oracle goes another way than the solution."""

import math
from collections.abc import Callable
from statistics import fmean, stdev

import numpy as np

from helpers.classroom.exercises.grader import Returned, ask, expect, register


@register("s1-excess")
def excess(answer: Callable[[np.ndarray, np.ndarray], tuple[float, float]]) -> None:
    """The documents are gone through one by one, in plain Python."""
    generator = np.random.default_rng(3)
    for n, T, shift in ((4, 3, 0.5), (50, 7, 0.1), (6, 31, -0.02)):
        true_nll = generator.exponential(3.0, (n, T))
        model_nll = true_nll + shift + generator.normal(0, 0.3, (n, T))
        by_document = [
            fmean(a - b for a, b in zip(*rows, strict=True)) for rows in zip(model_nll, true_nll, strict=True)
        ]
        mean, error = fmean(by_document), stdev(by_document) / math.sqrt(n)
        case = f"{n} documents of {T} words"
        got = ask(answer, case, model_nll, true_nll).items(2, "numbers, the mean and its standard error")
        slips = {
            "That is the model's loss: subtract what the source itself loses on the same words": model_nll.mean(),
            "The other way round: how much is the model's loss *above* the true one?": -mean,
        }
        says = "Mean of the model's minus the true losses, over all words."
        Returned(got[0], f"{case}, the mean").number(mean, says, slips=slips)
        words = (model_nll - true_nll).ravel()
        slips = {
            "Words of a document are not independent: average each document first": stdev(words) / math.sqrt(n * T),
            "That is the spread of the documents: the mean of n of them spreads less": stdev(by_document),
            "Divide by the square root of n, not by n": stdev(by_document) / n,
            "The standard deviation of a sample divides by n - 1: ddof=1": error * math.sqrt((n - 1) / n),
            "The error of a difference: subtract first, then look at its spread": (
                stdev(model_nll.mean(1)) / math.sqrt(n)
            ),
        }
        says = "The standard deviation between the documents' means, over the square root of their number."
        Returned(got[1], f"{case}, the standard error").number(error, says, slips=slips)


@register("s4-rule")
def rule(answer: Callable[[float, float], tuple[float, float]]) -> None:
    """What comes is put into the two conditions."""
    for flops, ratio in ((6 * 20 * 100.0**2, 20.0), (1.9e17, 20.0), (1e12, 3.0), (6.0, 1.0)):
        case = f"{flops:.3g} FLOPs, {ratio:g} tokens a parameter"
        got = ask(answer, case, flops, ratio).items(2, "numbers, parameters and tokens")
        n_params, n_tokens = (Returned(x, case).one_number() for x in got)
        positive = n_params > 0 and n_tokens > 0
        expect(positive, f"{case}: expected two numbers above 0, got {n_params:g} and {n_tokens:g}")
        slips = {
            "6 FLOPs per parameter and token: that spends six times as much": 6 * flops,
            "Parameters first, then tokens": flops if math.isclose(n_params, n_tokens * ratio) else math.nan,
        }
        says = "What does it cost? 6 FLOPs × parameters × tokens must be the budget"
        Returned(6 * n_params * n_tokens, f"{case}, spent").number(flops, says, slips=slips, digits=".4g")
        turned = {"Parameters first, then tokens": 1 / ratio}
        says = "Tokens divided by parameters must be the ratio"
        Returned(n_tokens / n_params, f"{case}, the ratio").number(ratio, says, slips=turned, digits=".4g")


@register("s1-power")
def power(answer: Callable[[float, float, float, float, float], float]) -> None:
    """Losses are made from a known power."""
    cases = [(0.5, 60.0, 3.0, 1e4, 1e6), (0.28, 410.7, 1.69, 1e9, 1e11), (1.0, 50.0, 0.0, 10, 20)]
    for b, B, E, first, second in cases:
        losses = [E + B / D**b for D in (first, second)]
        case = f"losses {losses[0]:.4f} and {losses[1]:.4f} after {first:g} and {second:g} tokens, E = {E:g}"
        steps, without = math.log(second / first), math.log(losses[0] / losses[1])
        slips = {
            "Subtract E first: the power belongs to the excess, not to the loss": without / steps,
            "The sign: B / D^b falls when b is above 0": -b,
            "Logarithms of the ratios, please, not the ratios": ((losses[0] - E) / (losses[1] - E)) / (second / first),
            "The other way round: the change of the excess over the change of the tokens": 1 / b,
        }
        says = "On log-log axes the excess is a straight line: what is its slope?"
        ask(answer, case, *losses, first, second, E).number(b, says, slips=slips)


@register("s2-best")
def best(answer: Callable[[float, float, float, float, float], float]) -> None:
    """All sizes are tried, ever more closely."""
    cases = [(406.4, 0.34, 410.7, 0.28, 5.76e23), (2.0, 0.3, 60.0, 0.4, 1e12), (5.0, 0.5, 5.0, 0.5, 6e6)]
    for A, a, B, b, flops in cases:
        low, high = -5.0, 40.0  # logs of the size
        for _ in range(200):  # the loss has one minimum: throw away the third that cannot hold it
            thirds = low + (high - low) / 3, high - (high - low) / 3
            left, right = (A * math.exp(-a * x) + B * (6 * math.exp(x) / flops) ** b for x in thirds)
            low, high = (low, thirds[1]) if left < right else (thirds[0], high)
        expected = math.exp((low + high) / 2)
        case = f"A = {A:g}, a = {a:g}, B = {B:g}, b = {b:g}, {flops:.3g} FLOPs"
        slips = {
            "Those are the tokens: the parameters were asked": flops / 6 / expected,
            "And the 6 in 6 N D?": expected * 6 ** (b / (a + b)),
            "The powers are factors, too: the derivative of A / N^a has an a": (
                (A / B) ** (1 / (a + b)) * (flops / 6) ** (b / (a + b))
            ),
        }
        says = "Put D = flops / (6 N) into A / N^a + B / D^b: where is its derivative by N zero?"
        ask(answer, case, A, a, B, b, flops).number(expected, says, slips=slips, digits=".4g", rel_tol=1e-4)


@register("s1-floor")
def floor(answer: Callable[[float, float, float], float]) -> None:
    """Losses are made from a known E; what comes is compared with it."""
    cases = [(3.05, 60.0, 0.5, 1e4, 10.0), (1.69, 410.7, 0.28, 1e9, 4.0), (0.0, 5.0, 0.3, 100.0, 2.0)]
    for E, B, b, first, ratio in cases:
        losses = [E + B / (first * ratio**i) ** b for i in range(3)]
        case = "losses {:.4f}, {:.4f}, {:.4f}, each after {:g} times as many tokens".format(*losses, ratio)
        one, two, three = losses
        slips = {
            "The ratios of losses are not equal, those of what is above E are": two * two / one,
            "That is the next loss of a straight line: the steps shrink": 2 * three - two,
            "That is the loss after the next step, not after infinitely many": (
                three - (two - three) ** 2 / (one - two)
            ),
        }
        says = "(L1 - E) / (L2 - E) = (L2 - E) / (L3 - E): solve for E"
        ask(answer, case, *losses).number(E, says, slips=slips, abs_tol=1e-4)

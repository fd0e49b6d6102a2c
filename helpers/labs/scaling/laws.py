"""Three laws of how the loss falls with size and tokens, their fit, their intervals, and the best size for a budget.

Our N, D, E, A, B are those of Hoffmann et al. 2022; the power c of the whole sum is Kaplan et al.'s alpha_D.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit

from helpers.gpt import require_number, require_one_of, require_whole

FORMS = ("sum", "product", "power of sum")
HUBER = 3e-3  # differences of log-loss above it count linearly; Hoffmann et al. 2022 have 1e-3, their runs less noise
STARTS = ((0.2, 0.3), (0.5, 0.5), (0.1, 0.6), (0.8, 0.3))  # of (a, b)
MOST_POWER, LEAST_SUM_POWER = 20.0, 0.05  # of a, of c: beyond them the runs do not fix a power, and A overflows
SLOPE_STEP = 6e-6  # the third root of what a float64 resolves
LARGEST_LOG_SIZE = 100.0  # of a best size, which is a number of parameters
LARGEST = 50.0  # log of an excess: more would overflow while the optimiser looks around
FLOPS_PER_PARAM_TOKEN = 6  # forward and backward, Kaplan et al. 2020, section 2.1


@dataclass(frozen=True)
class Law:
    """L(N, D): the loss in nats that a model of N parameters reaches after D tokens.

    form   "sum"           E + A / N^a + B / D^b         Hoffmann et al. 2022, equation 2
           "product"       E + A / (N^a D^b)             N and D each act as a factor; B is not used
           "power of sum"  E + (A / N^a + B / D^b)^c     Kaplan et al. 2020, equation 1.5, with an E; there b = 1

    ValueError: an unknown form.
    """

    form: str
    E: float
    A: float
    a: float
    B: float
    b: float
    c: float = 1.0

    def __post_init__(self) -> None:
        require_one_of(FORMS, form=self.form)

    def excess(self, n_params: Any, n_tokens: Any) -> Any:
        """What is left above E, in nats: numbers or arrays of one shape. ValueError: one that is not above 0."""
        if not (np.all(n_params > 0) and np.all(n_tokens > 0)):
            raise ValueError(f"sizes and tokens must be above 0, got {n_params!r:.60} and {n_tokens!r:.60}")
        by_size, by_tokens = n_params**-self.a, n_tokens**-self.b
        if self.form == "product":
            return self.A * by_size * by_tokens
        return (self.A * by_size + self.B * by_tokens) ** self.c

    def loss(self, n_params: Any, n_tokens: Any) -> Any:
        return self.E + self.excess(n_params, n_tokens)


PUBLISHED = {  # two fits of the same runs, which were made with text from the web; N counts all parameters
    "Hoffmann et al. 2022": Law("sum", 1.69, 406.4, 0.34, 410.7, 0.28),  # equation 10
    "Besiroglu et al. 2024": Law("sum", 1.8172, 482.01, 0.3478, 2085.43, 0.3658),  # table 1
}


class Runs(NamedTuple):
    """Runs to fit a law to: three arrays (n,) of float64, or what numpy makes them of, such as lists."""

    n_params: np.ndarray
    n_tokens: np.ndarray
    loss: np.ndarray  # nats

    def take(self, which: Any) -> "Runs":
        """Some of the runs, by mask or by places."""
        return Runs(*(part[which] for part in self.as_arrays()))

    def as_arrays(self) -> "Runs":
        """The same in float64: numpy's int32 would overflow in `flops`."""
        return Runs(*(np.asarray(part, np.float64) for part in self))

    @property
    def flops(self) -> np.ndarray:
        runs = self.as_arrays()
        return FLOPS_PER_PARAM_TOKEN * runs.n_params * runs.n_tokens


def fit(runs: Runs, form: str = "sum", *, entropy: float | None = None, start: Law | None = None) -> Law:
    """The law of that form nearest to the runs: Huber loss on the difference of log-losses, from several starts.

    entropy  E where it is known; None leaves it free, between 0 and the lowest loss
    start    of the optimiser, where E is free, instead of the usual ones: the law of similar runs

    ValueError: an unknown form, fewer runs than parameters, too few different sizes or tokens (with two sizes a sum
    may have any E), losses that are not above E or not finite.
    Source: Hoffmann et al. 2022, appendix D.3; Besiroglu et al. 2024, on starts and convergence.
    """
    runs = runs.as_arrays()
    _check_runs(runs, form, entropy)
    n, d, log_loss = np.log(runs.n_params), np.log(runs.n_tokens), np.log(runs.loss)
    n, d = n - n.mean(), d - d.mean()

    def residuals(x: np.ndarray) -> np.ndarray:
        off = np.log(_entropy(x, entropy, runs) + np.exp(_log_excess(form, x, n, d))) - log_loss
        beyond = np.sign(off) * np.sqrt(np.maximum(2 * HUBER * np.abs(off) - HUBER**2, 0))  # its square is Huber's loss
        return np.where(np.abs(off) <= HUBER, off, beyond)

    def slopes(x: np.ndarray) -> np.ndarray:  # from both sides; from one, two processors would end in two places
        steps = np.diag(SLOPE_STEP * np.maximum(1, np.abs(x)))
        return np.stack([(residuals(x + h) - residuals(x - h)) / (2 * h.sum()) for h in steps], 1)

    starts = [_numbers(start, runs)] if start else [_first_guess(runs, form, entropy, a, b) for a, b in STARTS]
    near = {"ftol": 1e-12, "xtol": 1e-12, "gtol": 1e-12}
    tries = [least_squares(residuals, x, slopes, method="lm", **near) for x in starts]  # Levenberg-Marquardt (MINPACK)
    return _law(form, min(tries, key=lambda found: found.cost).x, entropy, runs)


def bootstrap(runs: Runs, law: Law, *, n: int = 100, seed: int = 0) -> list[Law]:
    """`n` laws, each fitted to as many runs drawn with replacement: how far chance in the runs moves the fit.

    Runs with too few different sizes or tokens to fix a law are drawn anew.

    law  the fit of all runs, E too, where each fit begins

    ValueError: no run, n below 1, a seed below 0, or what `fit` refuses. Source: Efron 1979.
    """
    require_whole(n_runs=len(runs.loss), n=n)
    require_whole(at_least=0, seed=seed)
    runs, found, generator = runs.as_arrays(), [], np.random.default_rng(seed)
    _check_runs(runs, law.form, None)
    while len(found) < n:
        drawn = runs.take(generator.integers(len(runs.loss), size=len(runs.loss)))
        if _fix_a_law(drawn, law.form, None):
            found.append(fit(drawn, law.form, start=law))
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of the values. ValueError: none."""
    if not len(values):
        raise ValueError("expected values, got 0 values")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def rms_error(law: Law, runs: Runs) -> float:
    """Root mean square of predicted minus measured loss, in nats."""
    runs = runs.as_arrays()
    return float(np.sqrt(np.mean((law.loss(runs.n_params, runs.n_tokens) - runs.loss) ** 2)))


class Plan(NamedTuple):
    """A size and a number of tokens for a budget."""

    n_params: float
    n_tokens: float

    @property
    def tokens_per_param(self) -> float:
        return self.n_tokens / self.n_params


def best_plan(law: Law, flops: float) -> Plan:
    """The size with the lowest loss among all that spend `flops` = 6 N D.

    ValueError: a budget, a factor or a power of the law that is not above 0, or a law by which the best size is
    infinite or none: a product, or powers so small that size hardly matters.
    """
    require_number(flops=flops)
    if law.form == "product":
        raise ValueError("a product has no best size: along 6 N D = flops it falls or rises without end")
    require_number(A=law.A, a=law.a, B=law.B, b=law.b, c=law.c)
    budget = flops / FLOPS_PER_PARAM_TOKEN
    # A / N^a + B N^b / budget^b has its minimum where a A / N^a = b B N^b / budget^b
    log_size = (math.log(law.a * law.A / (law.b * law.B)) + law.b * math.log(budget)) / (law.a + law.b)
    if not abs(log_size) < LARGEST_LOG_SIZE:
        most = f"the best size must be within e^-{LARGEST_LOG_SIZE:.0f} and e^{LARGEST_LOG_SIZE:.0f}"
        raise ValueError(f"{most}, got e^{log_size:.3g}: by the powers {law.a} and {law.b} size hardly matters")
    return Plan(math.exp(log_size), budget / math.exp(log_size))


def rule_of_thumb(flops: float, tokens_per_param: float = 20.0) -> Plan:
    """The plan with that many tokens a parameter. ValueError: numbers that are not above 0."""
    require_number(flops=flops, tokens_per_param=tokens_per_param)
    n_params = math.sqrt(flops / FLOPS_PER_PARAM_TOKEN / tokens_per_param)
    return Plan(n_params, n_params * tokens_per_param)


# What the optimiser moves: the terms at the middle of the runs (their logs), the powers, and E as a share of the lowest
# loss, so that neither N^a nor a negative E can throw it off.


def _log_excess(form: str, x: np.ndarray, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """(n,) logs of the excess, at most LARGEST, from the logs of sizes and tokens above their means."""
    x = _within(form, x)
    if form == "product":
        log_excess = x[0] - x[1] * n - x[2] * d
    elif form == "sum":
        log_excess = np.logaddexp(x[0] - x[1] * n, x[2] - x[3] * d)
    else:
        log_excess = x[3] * np.logaddexp(x[0] - x[1] * n, x[2] - d)
    return np.minimum(log_excess, LARGEST)


def _within(form: str, x: np.ndarray) -> np.ndarray:
    """x with powers that a float can hold the law of."""
    bounded = x.copy()
    bounded[1] = min(x[1], MOST_POWER)
    if form == "power of sum":
        bounded[3] = max(x[3], LEAST_SUM_POWER)
    return bounded


def _entropy(x: np.ndarray, entropy: float | None, runs: Runs) -> float:
    return float(entropy if entropy is not None else runs.loss.min() * expit(x[-1]))


def _law(form: str, x: np.ndarray, entropy: float | None, runs: Runs) -> Law:
    (log_N, log_D), x = _middle(runs), _within(form, x)
    E, log_A, a = _entropy(x, entropy, runs), x[0], float(x[1])
    if form == "product":
        return Law(form, E, math.exp(log_A + a * log_N + x[2] * log_D), a, 0.0, float(x[2]))
    b, c = (float(x[3]), 1.0) if form == "sum" else (1.0, float(x[3]))
    return Law(form, E, math.exp(log_A + a * log_N), a, math.exp(x[2] + b * log_D), b, c)


def _numbers(law: Law, runs: Runs) -> np.ndarray:
    """The x of which `_law` makes this law, with E free."""
    log_N, log_D = _middle(runs)
    share = min(max(law.E / runs.loss.min(), 1e-6), 1 - 1e-6)
    log_A, z = math.log(law.A) - law.a * log_N, math.log(share / (1 - share))
    if law.form == "product":
        return np.array([log_A - law.b * log_D, law.a, law.b, z])
    return np.array([log_A, law.a, math.log(law.B) - law.b * log_D, law.b if law.form == "sum" else law.c, z])


def _first_guess(runs: Runs, form: str, entropy: float | None, a: float, b: float) -> np.ndarray:
    """A law that has the powers a and b, and fits the middle of the runs."""
    log_N, log_D = _middle(runs)
    E = 0.9 * runs.loss.min() if entropy is None else entropy
    above = float(np.median(runs.loss)) - E
    if form == "product":
        law = Law(form, E, above * math.exp(a * log_N + b * log_D), a, 0.0, b)
    elif form == "sum":
        law = Law(form, E, above / 2 * math.exp(a * log_N), a, above / 2 * math.exp(b * log_D), b)
    else:
        half = above ** (1 / b) / 2
        law = Law(form, E, half * math.exp(a / b * log_N), a / b, half * math.exp(log_D), 1.0, b)
    x = _numbers(law, runs)
    return x if entropy is None else x[:-1]


def _middle(runs: Runs) -> tuple[float, float]:
    return float(np.log(runs.n_params).mean()), float(np.log(runs.n_tokens).mean())


def _check_runs(runs: Runs, form: str, entropy: float | None) -> None:
    n_free = (3 if form == "product" else 4) + (entropy is None)
    if len(runs.loss) < n_free:
        raise ValueError(f"{n_free} numbers are fitted to as many runs or more, got {len(runs.loss)}")
    if not all(np.isfinite(part).all() and (part > 0).all() for part in runs):
        raise ValueError("sizes, tokens and losses must be finite and above 0")
    if not _fix_a_law(runs, form, entropy):
        seen = f"{len(np.unique(runs.n_params))} and {len(np.unique(runs.n_tokens))}"
        raise ValueError(f"a {form} needs {_least(form, entropy)} different sizes and numbers of tokens, got {seen}")
    if entropy is not None and runs.loss.min() <= entropy:
        raise ValueError(f"every loss must be above the entropy of {entropy}, got {runs.loss.min()}")


def _least(form: str, entropy: float | None) -> int:
    """Different sizes, and numbers of tokens, that fix the powers: one more, where a sum's E is to be found too."""
    return 3 if form == "sum" and entropy is None else 2


def _fix_a_law(runs: Runs, form: str, entropy: float | None) -> bool:
    return all(len(np.unique(part)) >= _least(form, entropy) for part in (runs.n_params, runs.n_tokens))

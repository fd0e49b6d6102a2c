"""Fits marked on data of a known law, intervals that hold it, and the best plan against a search over all sizes."""

import dataclasses
import math

import numpy as np
import pytest

from helpers.labs import scaling
from tests.support import refusals

LAWS = {
    "sum": scaling.Law("sum", 3.05, 2.0, 0.3, 60.0, 0.4),
    "product": scaling.Law("product", 3.05, 60.0, 0.12, 0.0, 0.4),
    "power of sum": scaling.Law("power of sum", 3.05, 0.05, 0.5, 2e4, 1.0, 0.45),
}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def runs_of(law: scaling.Law, noise: float = 0.0, seed: int = 0) -> scaling.Runs:
    """30 runs of a law: five sizes, six token counts."""
    N, D = (x.ravel() for x in np.meshgrid([1_700.0, 6_500, 25_000, 100_000, 600_000], [2e4, 6e4, 2e5, 6e5, 2e6, 6e6]))
    error = noise * np.random.default_rng(seed).standard_normal(len(N))
    return scaling.Runs(N, D, law.loss(N, D) + error)


def recorded() -> tuple[scaling.Runs, float]:
    """The sweep's runs on fresh text, and their entropy."""
    record = scaling.read()
    sizes, entropy = record["protocol"]["sizes"], record["protocol"]["entropy_rate_nats"]
    fresh = [run for run in record["runs"] if (run["source"], run["epochs"]) == ("authors", 1)]
    N, D, excess = np.array([(sizes[run["size"]][2], run["n_tokens"], run["excess"]) for run in fresh]).T
    return scaling.Runs(N, D, entropy + excess), entropy


RECORDED, ENTROPY = recorded()


def test_the_three_laws_and_the_rule_of_thumb_by_hand():
    N, D = 100.0, 10_000.0
    assert scaling.Law("sum", 1.0, 20.0, 0.5, 300.0, 0.5).loss(N, D) == pytest.approx(1 + 2 + 3)
    assert scaling.Law("product", 1.0, 2000.0, 0.5, 0.0, 0.5).loss(N, D) == pytest.approx(1 + 2)
    assert scaling.Law("power of sum", 1.0, 20.0, 0.5, 1400.0, 0.5, 0.5).loss(N, D) == pytest.approx(1 + 4)
    plan = scaling.rule_of_thumb(6 * 20 * 100**2)
    assert plan == pytest.approx((100, 2_000)) and plan.tokens_per_param == pytest.approx(20)
    cheap = RUNS.take(RUNS.flops < 1e10)
    assert 0 < len(cheap.loss) < len(RUNS.loss) and cheap.flops.max() < 1e10
    assert RUNS.flops[0] == 6 * 1_700 * 2e4


@each_law
def test_the_fit_finds_a_law_that_has_no_noise(law: scaling.Law):
    found = scaling.fit(runs_of(law), law.form)
    wanted = [law.E, law.a, law.b, law.c]
    assert [found.E, found.a, found.b, found.c] == pytest.approx(wanted, abs=5e-3)
    known = scaling.fit(runs_of(law), law.form, entropy=3.05)
    assert known.E == 3.05 and scaling.rms_error(known, runs_of(law)) < 1e-5


@each_law
def test_the_interval_holds_the_truth_and_shrinks_with_the_noise(law: scaling.Law):
    widths = []
    for noise in (0.004, 0.001):
        runs = runs_of(law, noise, seed=1)
        drawn = scaling.bootstrap(runs, scaling.fit(runs, law.form), n=60)
        low, high = scaling.interval([one.E for one in drawn])
        assert low - 0.002 < 3.05 < high + 0.002
        widths.append(high - low)
    assert 0 < widths[1] < widths[0] < 0.2


def test_a_wrong_form_is_wrong_about_the_entropy_and_an_outlier_hardly_moves_it():
    runs = runs_of(LAWS["product"], 0.003)
    wrong = scaling.fit(runs, "sum")
    assert 3.05 - wrong.E > 0.03 and scaling.rms_error(wrong, runs) > 3 * 0.003
    runs = runs_of(LAWS["sum"], 0.001)
    runs.loss[7] += 0.3
    assert pytest.approx(3.05, abs=0.01) == scaling.fit(runs, "sum").E


def test_a_power_that_the_runs_do_not_fix_stays_a_number():
    """The cheap half of the sweep: the steeper in N, the better the power of a sum fits, without end."""
    cheap = RECORDED.take(RECORDED.flops <= np.median(RECORDED.flops))
    law = scaling.fit(cheap, "power of sum", entropy=ENTROPY)
    assert 1 < law.a <= 20 and math.isfinite(law.A) and scaling.rms_error(law, cheap) < 0.12


@pytest.mark.parametrize(("form", "tokens_per_param"), [("sum", 0), ("product", 0), ("power of sum", 0), ("sum", 100)])
def test_the_last_digits_of_the_losses_move_no_digit_that_is_shown(form: str, tokens_per_param: int):
    """Processors differ in them. With the fewer runs, some draws have two sizes alone, and any E fits a sum to them."""
    runs = RECORDED.take(RECORDED.n_tokens / RECORDED.n_params > tokens_per_param)
    law, off = scaling.fit(runs, form), np.random.default_rng(1).standard_normal(len(runs.loss))
    near = runs._replace(loss=runs.loss * (1 + 4e-16 * off))
    first, second = ([one.E for one in scaling.bootstrap(some, law, n=40)] for some in (runs, near))
    assert first == pytest.approx(second, abs=5e-6)


def test_bootstrap_is_the_same_for_the_same_seed():
    runs = runs_of(LAWS["sum"], 0.002)
    law = scaling.fit(runs, "sum")
    first, again, other = (scaling.bootstrap(runs, law, n=3, seed=s) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("form", ["sum", "power of sum"])
def test_the_best_plan_is_the_best_of_all_sizes(form: str):
    law, flops = LAWS[form], 1e12
    sizes = np.geomspace(10, 1e9, 100_001)
    best = sizes[law.loss(sizes, flops / 6 / sizes).argmin()]
    plan = scaling.best_plan(law, flops)
    assert plan.n_params == pytest.approx(best, rel=1e-3)
    assert 6 * plan.n_params * plan.n_tokens == pytest.approx(flops)


def test_lists_and_narrow_integers_are_runs_too():
    N, D, loss = (part.astype(kind) for part, kind in zip(RUNS, (np.int32, np.int32, np.float64), strict=True))
    for runs in (scaling.Runs(N, D, loss), scaling.Runs(N.tolist(), D.tolist(), loss.tolist())):
        assert (runs.flops == RUNS.flops).all() and RUNS.flops.max() > 2**31
        law = scaling.fit(runs)
        assert law == scaling.fit(RUNS) and scaling.rms_error(law, runs) == scaling.rms_error(law, RUNS)
        assert scaling.bootstrap(runs, law, n=1) == scaling.bootstrap(RUNS, law, n=1)


def plan_of(**changes: float) -> tuple:
    return scaling.best_plan(dataclasses.replace(LAWS["sum"], **changes), 1e12)


RUNS = runs_of(LAWS["sum"])
TWO_SIZES = RUNS.take(RUNS.n_params <= np.unique(RUNS.n_params)[1])
NO_LAWS = ({"B": 0.0}, {"A": -1.0}, {"b": 0.0, "a": 0.0}, {"b": -0.3, "a": -0.3}, {"c": math.nan})

test_what_cannot_be_fitted_is_refused = refusals(
    (lambda: scaling.fit(RUNS, "line"), "form must be one of sum, product, power of sum, got 'line'"),
    (lambda: scaling.Law("line", 1, 1, 1, 1, 1), "form must be one of"),
    (lambda: scaling.fit(RUNS.take(slice(4))), "5 numbers are fitted to as many runs or more, got 4"),
    (lambda: scaling.fit(RUNS._replace(loss=RUNS.loss * math.nan)), "finite and above 0"),
    (lambda: scaling.fit(RUNS, entropy=3.5), r"every loss must be above the entropy of 3.5, got 3\."),
    (lambda: scaling.fit(TWO_SIZES), "a sum needs 3 different sizes and numbers of tokens, got 2 and 6"),
    (lambda: scaling.bootstrap(TWO_SIZES, LAWS["sum"], n=1), "got 2 and 6"),
    (
        lambda: scaling.fit(RUNS.take(RUNS.n_tokens == RUNS.n_tokens[0]), "product", entropy=3),
        "got 5 and 1",
    ),
    (lambda: scaling.interval([]), "got 0 values"),
    (lambda: scaling.bootstrap(RUNS, LAWS["sum"], n=1, seed="a"), "seed must be a whole number"),
    *((lambda N=N: LAWS["sum"].loss(N, 1), "sizes and tokens must be above 0, got") for N in (0, -5, np.arange(3))),
    *((lambda x=x: plan_of(**x), f"{list(x)[-1]} must be a finite number above 0") for x in NO_LAWS),
    (lambda: plan_of(a=1e-5, b=1e-5), r"within e\^-100 and e\^100, got e\^.*: by the powers 1e-05 and 1e-05"),
    (lambda: scaling.best_plan(LAWS["sum"], 0), "flops must be a finite number above 0, got 0"),
    (lambda: scaling.best_plan(LAWS["product"], 1e12), "a product has no best size"),
    (lambda: scaling.rule_of_thumb(1.0, 0), "tokens_per_param must be a finite number above 0, got 0"),
)

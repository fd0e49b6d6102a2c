"""Compute in, size and tokens out: by the rule of 20 tokens a parameter and by fitted laws, with their intervals."""

import math
from collections.abc import Mapping, Sequence

from helpers.classroom.cards._card import Card
from helpers.labs import budget, scaling

FLOPS = (10, 26)  # powers of ten that the slider covers
RULE = "20 tokens a parameter"
MAX_LAWS, MAX_NAME, FEWEST_DRAWS = 4, 28, 20


def best_size(
    flops: float = 1.9e17,
    laws: Mapping[str, scaling.Law | Sequence[scaling.Law]] | None = None,
    budgets: Mapping[str, float] | None = None,
) -> Card:
    """A slider for the compute; the best size and number of tokens by each law and by the rule of thumb.

    flops    6 N D, in [1e10, 1e26]
    laws     name -> a law, or a list: the law, then what a bootstrap made of it, which gives an interval of 95 %; at
             most four, none a product; None: the two published ones
    budgets  name -> flops, a button each

    ValueError: flops outside the slider's range, too many laws, too long a name, a bootstrap of fewer than 20.
    """
    for value in (flops, *(budgets or {}).values()):
        if not 10.0 ** FLOPS[0] <= value <= 10.0 ** FLOPS[1]:
            raise ValueError(f"flops must be within the slider's range, 1e{FLOPS[0]} to 1e{FLOPS[1]}, got {value!r}")
    given = scaling.PUBLISHED if laws is None else laws
    if len(given) > MAX_LAWS or any(not 1 <= len(name) <= MAX_NAME for name in (*given, *(budgets or {}))):
        raise ValueError(f"expected at most {MAX_LAWS} laws, with names of 1 to {MAX_NAME} characters, got {[*given]}")
    drawn = {name: [law] if isinstance(law, scaling.Law) else list(law) for name, law in given.items()}
    for name, draws in drawn.items():
        if len(draws) != 1 and len(draws) <= FEWEST_DRAWS:
            raise ValueError(f"{name}: an interval needs the law and {FEWEST_DRAWS} draws or more, got {len(draws)}")
    plans = {RULE: scaling.rule_of_thumb(flops)}
    plans |= {name: scaling.best_plan(draws[0], flops) for name, draws in drawn.items()}
    count = budget.readable_count
    return Card(
        kind="size",
        title="Which size for this compute?",
        sentence=f"{flops:.2e} FLOPs, at {RULE}: {count(plans[RULE].n_params)} parameters, "
        f"{count(plans[RULE].n_tokens)} tokens.",
        values={"flops": flops},
        config={
            "flops": [*FLOPS, flops],
            "laws": {name: [_line(law) for law in draws] for name, draws in drawn.items()},
            "budgets": dict(budgets or {}),
        },
        table=(
            ("by", "parameters", "tokens", "tokens a parameter"),
            *((name, count(p.n_params), count(p.n_tokens), f"{p.tokens_per_param:,.3g}") for name, p in plans.items()),
        ),
    )


def _line(law: scaling.Law) -> list[float]:
    """[constant, power]: ln N = constant + power * ln(N D), the best size as a straight line in the logs."""
    one, ten = (math.log(scaling.best_plan(law, 6 * 10**k).n_params) for k in (10, 20))
    power = (ten - one) / (10 * math.log(10))
    return [round(one - 10 * math.log(10) * power, 6), round(power, 6)]

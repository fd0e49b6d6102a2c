"""What the cost calculator shows at each position of its sliders; calculator.js does the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.classroom.cards._card import State
from helpers.labs import budget

AXIS = (60, 1000 * 365 * 24 * budget.SECONDS_PER_HOUR)  # seconds at the picture's edges: a minute, a thousand years
SIGNS = ("✓ ", "→ ")  # in the table: met as it is, or to be changed to


@dataclass(frozen=True)
class Plan:
    """A run, and what there is for it: `hours` in one go, `money` in all (None: no limit)."""

    n_tokens: float
    tokens_per_s: float
    price: float
    watts: float | None
    hours: float
    money: float | None

    @property
    def cost(self) -> budget.Cost:
        return budget.cost(self.n_tokens, self.tokens_per_s, self.price, self.watts)

    @property
    def paid_hours(self) -> float:
        """How long the money lasts."""
        return math.inf if self.money is None or not self.price else self.money / self.price

    @property
    def late(self) -> bool:
        return self.cost.hours > self.hours

    @property
    def dear(self) -> bool:
        return self.cost.hours > self.paid_hours

    @property
    def sessions(self) -> int:
        """How many of `hours` each the run needs, when it is saved and goes on."""
        return max(1, math.ceil(self.cost.hours / self.hours))


def plan_at(values: dict[str, float], config: dict) -> Plan:
    """The plan at the sliders' positions."""
    return Plan(*(config["stops"][name][int(values[name])] for name in config["stops"]))


def calculator_state(values: dict[str, float], config: dict) -> State:
    """Every text and attribute of the card.

    values  positions of `tokens`, `rate`, `price`, `watts`, `hours` and `money` among config's stops
    """
    plan, currency = plan_at(values, config), config["currency"]
    taken, texts = plan.cost, _texts(plan, currency)
    time, money = _time(taken.hours), _money(taken.money, currency)
    energy = "" if taken.kwh is None else f", {_amount(taken.kwh)} kWh"
    said = ["fits", "too expensive", "too long", "too long and too expensive"][2 * plan.late + plan.dear]
    limit = "" if plan.money is None else f" and {texts['money']}"
    state: State = {
        "summary": f"{texts['tokens']} at {texts['rate']} take {time}, {money}{energy}. "
        f"Available: {texts['hours']}{limit}.",
        "frame@class": "bc-card bc-ok" if said == "fits" else "bc-card bc-bad",
        "sign": "✓" if said == "fits" else "✗",
        "verdict": "It fits" if said == "fits" else said.capitalize(),
        "time": time,
        "time@data-hours": repr(taken.hours),
        "of": f"of {texts['hours']}{'' if plan.money is None else f', {money} of {limit[5:]}'}",
        "cost": money,
        "cost@data-money": repr(float(taken.money)),
        "energy": "power not known" if taken.kwh is None else f"{_amount(taken.kwh)} kWh",
        "energy@data-kwh": None if taken.kwh is None else repr(taken.kwh),
        "sessions": f"{_amount(plan.sessions)} × {texts['hours']}",
        "enough": _enough(plan, currency),
    }
    for name, text in texts.items():
        state |= {f"{name}_text": text, f"{name}_in@aria-valuetext": text}
    return state | _speeds(plan, config) | _needed(plan, texts, currency)


def place(seconds: float) -> float:
    """Where a time stands on the picture's log axis, in percent; one outside stays on the edge."""
    low, high = (math.log10(s) for s in AXIS)
    return 100 * min(max((math.log10(seconds) - low) / (high - low), 0.0), 1.0)


def _texts(plan: Plan, currency: str) -> dict[str, str]:
    return {
        "tokens": f"{budget.readable_count(plan.n_tokens)} tokens",
        "rate": f"{budget.readable_count(plan.tokens_per_s)} tokens/s",
        "price": f"{_money(plan.price, currency)} an hour" if plan.price else "free",
        "watts": "not known" if plan.watts is None else f"{budget.readable_count(plan.watts)} W",
        "hours": _time(plan.hours),
        "money": "no limit" if plan.money is None else _money(plan.money, currency),
    }


def _speeds(plan: Plan, config: dict) -> State:
    limit = place(plan.hours * budget.SECONDS_PER_HOUR)
    state: State = {
        "limit@style": f"left:{limit:.2f}%",
        "beyond@style": f"left:{limit:.2f}%",
        "limit_text": f"available: {_time(plan.hours)}",
        "limit_text@style": f"right:{100 - limit:.2f}%" if limit > 50 else f"left:{limit:.2f}%",
    }
    for i, speed in enumerate([plan.tokens_per_s, *config["speeds"]]):
        taken = budget.cost(plan.n_tokens, speed, plan.price)
        late = taken.hours > plan.hours
        state |= {
            f"dot{i}@style": f"left:{place(taken.hours * budget.SECONDS_PER_HOUR):.2f}%",
            f"dot{i}@class": "bc-dot bc-late" if late else "bc-dot",
            f"t{i}": ("✗ " if late else "✓ ") + _time(taken.hours),
        }
        if i:
            state[f"speed{i}@aria-pressed"] = "true" if speed == plan.tokens_per_s else "false"
    return state


def _needed(plan: Plan, texts: dict[str, str], currency: str) -> State:
    """The table: what each number has to be for the time and for the money, when only it is changed."""
    hours, free = plan.cost.hours, math.isinf(plan.paid_hours)
    rate = f"{budget.readable_count(plan.tokens_per_s)} tokens/s"
    now = {
        "tokens": texts["tokens"],
        "rate": rate,
        "price": texts["price"],
        "hours": texts["hours"],
        "money": texts["money"],
    }
    state: State = {f"now_{name}": text for name, text in now.items()}
    for name, there, bad in (("time", plan.hours, plan.late), ("money", plan.paid_hours, plan.dear)):
        sign, none = SIGNS[bad], name == "money" and free
        state |= {
            f"{name}_tokens": "no limit" if none else f"{sign}{_amount(_tokens(plan, there))} tokens",
            f"{name}_rate": "no limit" if none else f"{sign}{_amount(_speed(plan, there))} tokens/s",
            f"{name}_tokens@class": "bc-wrong" if bad else None,
            f"{name}_rate@class": "bc-wrong" if bad else None,
        }
    dear = SIGNS[plan.dear]
    return state | {
        "time_hours": SIGNS[plan.late] + _time(hours),
        "time_hours@class": "bc-wrong" if plan.late else None,
        "money_price": "no limit" if plan.money is None else f"{dear}{_money(plan.money / hours, currency)} an hour",
        "money_price@class": "bc-wrong" if plan.dear else None,
        "money_money": "no limit" if plan.money is None else dear + _money(plan.cost.money, currency),
        "money_money@class": "bc-wrong" if plan.dear else None,
    }


def _enough(plan: Plan, currency: str) -> str:
    hours, there = plan.cost.hours, min(plan.hours, plan.paid_hours)
    if not plan.late and not plan.dear:
        money = "" if plan.money is None else f" and {_money(plan.money - plan.cost.money, currency)}"
        return f"✓ Nothing has to change: {_time(plan.hours - hours)}{money} stay."
    faster = _speed(plan, there) / plan.tokens_per_s
    ways = [
        f"read at most {_amount(_tokens(plan, there))} tokens",
        f"or reach {_amount(_speed(plan, there))} tokens/s, {_amount(faster)} times this speed",
    ]
    if plan.late and not plan.dear:
        ways.append(f"or save, and go on over {_amount(plan.sessions)} sessions")
    if plan.dear and not plan.late:
        ways.append(f"or pay at most {_money(plan.money / hours, currency)} an hour")
    return f"✗ Change one: {', '.join(ways)}."


def _tokens(plan: Plan, hours: float) -> float:
    return plan.tokens_per_s * hours * budget.SECONDS_PER_HOUR


def _speed(plan: Plan, hours: float) -> float:
    return plan.n_tokens / (hours * budget.SECONDS_PER_HOUR)


def _time(hours: float) -> str:
    return budget.readable_time(hours * budget.SECONDS_PER_HOUR)


def _money(amount: float, currency: str) -> str:
    return f"{currency} {amount:,.2f}" if amount < 1e6 else f"{currency} {budget.readable_count(amount)}"


def _amount(x: float) -> str:
    """As `readable_count`; below 100 with two digits behind the point where it is no whole number."""
    if x >= 100 or x == int(x):
        return budget.readable_count(x)
    return f"{x:.2f}" if x >= 0.01 else "< 0.01"

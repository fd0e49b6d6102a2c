"""The cost calculator's HTML before anything is written into it, and its picture in plain characters."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from helpers.classroom.cards._card import State, button, slider
from helpers.classroom.cards._cost_state import place
from helpers.labs import budget

SLIDERS = (
    ("tokens", "tokens to read"),
    ("rate", "speed"),
    ("price", "price"),
    ("watts", "power while it trains"),
    ("hours", "time available"),
    ("money", "money available"),
)
TICKS = (
    ("1 min", 60),
    ("1 h", budget.SECONDS_PER_HOUR),
    ("1 day", budget.SECONDS_PER_DAY),
    ("1 mo", budget.DAYS_PER_MONTH * budget.SECONDS_PER_DAY),
    ("1 yr", 365 * budget.SECONDS_PER_DAY),
    ("100 yr", 36500 * budget.SECONDS_PER_DAY),
)
SESSIONS = (("Colab, 4 hours", 4), ("weekend, 48 hours", 48))
ROWS = (
    ("tokens", "fewer tokens: at most"),
    ("rate", "a faster run: at least"),
    ("price", "a lower price: at most"),
    ("hours", "more time: at least"),
    ("money", "more money: at least"),
)
CELLS = {
    "tokens": ("time", "money"),
    "rate": ("time", "money"),
    "price": ("money",),
    "hours": ("time",),
    "money": ("money",),
}
FOOT = (
    "At a steady speed, without starts, evaluations and pauses; amounts are rounded. Times stand "
    "on a log axis; a month is 30 days. A100: GPT-2 124M, context 1,024, as S. Raschka published it."
)


def template(values: Mapping[str, int], config: Mapping[str, dict], names: Sequence[str]) -> str:
    """Sliders on the left, the verdict and the speeds on the right, below what to change."""
    stops = config["stops"]
    sliders = "".join(slider(name, label, values[name], 0, len(stops[name]) - 1) for name, label in SLIDERS)
    sessions = "".join(button(text, set_to={"hours": stops["hours"].index(hours)}) for text, hours in SESSIONS)
    facts = "".join(
        f'<div><span>{name}</span><b data-key="{key}"></b></div>'
        for key, name in (("cost", "money"), ("energy", "energy"), ("sessions", "sessions"))
    )
    return (
        f'<div data-key="frame"><div class="cw-cols"><div class="cw-left bc-knobs">{sliders}'
        f'<div>{sessions}</div></div><div class="cw-right bc-right"><div class="bc-verdict"><span class="bc-sign" '
        'data-key="sign" aria-hidden="true"></span><div><b data-key="verdict"></b><span class="cw-big" '
        f'data-key="time"></span> <span data-key="of"></span></div></div><div class="bc-facts">{facts}</div>'
        f'{_picture(config, names)}</div></div>{_table()}<p class="bc-enough" data-key="enough"></p>'
        f'<p class="cw-note">{FOOT}</p></div>'
    )


def plain(state: State, names: Sequence[str]) -> str:
    """The speeds as a table."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{state[f't{i}']}</td></tr>"
        for i, name in enumerate(["chosen speed", *names])
    )
    return f"<table><tbody>{rows}</tbody></table><p>{html.escape(state['enough'] or '')}</p>"


def _picture(config: Mapping[str, dict], names: Sequence[str]) -> str:
    rate = config["stops"]["rate"]
    heads = ["<span>chosen speed</span>"] + [
        button(name, f"speed{i}", set_to={"rate": rate.index(config["speeds"][i - 1])})
        for i, name in enumerate(names, 1)
    ]
    rows = "".join(
        f'<div class="bc-row">{head}<span class="bc-track" aria-hidden="true"><i data-key="dot{i}"></i></span>'
        f'<b data-key="t{i}"></b></div>'
        for i, head in enumerate(heads)
    )
    ticks = "".join(f'<span style="left:{place(seconds):.2f}%">{name}</span>' for name, seconds in TICKS)
    lines = "".join(f'<i class="bc-tick" style="left:{place(seconds):.2f}%"></i>' for _, seconds in TICKS)
    return (
        '<div class="bc-speeds" role="group" aria-label="time at each speed"><div class="bc-over" '
        f'aria-hidden="true">{lines}<i class="bc-beyond" data-key="beyond"></i>'
        '<i class="bc-limit" data-key="limit"></i>'
        f'<em data-key="limit_text"></em></div>{rows}<div class="bc-ticks" aria-hidden="true">{ticks}</div></div>'
    )


def _table() -> str:
    rows = ""
    for key, label in ROWS:
        cells = "".join(
            f'<td data-key="{column}_{key}"></td>' if column in CELLS[key] else "<td>–</td>"
            for column in ("time", "money")
        )
        rows += f'<tr><td>{label}</td><td data-key="now_{key}"></td>{cells}</tr>'
    head = "<tr><th>changing one alone</th><th>now</th><th>for the time</th><th>for the money</th></tr>"
    return f'<table class="bc-needed"><thead>{head}</thead><tbody>{rows}</tbody></table>'

"""The memory calculator's HTML before anything is written into it, and its picture in plain characters."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from helpers.classroom.cards._card import State, button, slider
from helpers.classroom.cards._memory_forms import PHASES
from helpers.labs import budget
from helpers.labs.budget import CHANGES, CUDA_CONTEXT, CUDA_FRAGMENTS

SEGMENTS = ("weights", "optimizer’s moments", "gradients", "half-precision copies", "activations", "logits", "slack")
PLAIN_BAR = 40  # characters of a full bar where no style shows
FOOT = (
    "Predicted from the config, at each phase’s widest moment. Slack is assumed, not measured on a card: "
    f"{budget.readable_bytes(CUDA_CONTEXT)} for the driver and {CUDA_FRAGMENTS:.0%} of the tensors for the allocator."
)


def template(
    values: Mapping[str, int],
    config: Mapping[str, list],
    precisions: Iterable[str],
    optimizers: Iterable[str],
    switches: Mapping[str, str],
) -> str:
    """Controls on the left, the verdict and the bars on the right, below what to change."""
    menus = (("model", "model", config["models"]), ("room", "card", config["rooms"]))
    menus += (("precision", "precision", precisions), ("optimizer", "optimizer", optimizers))
    sliders = (("rows", "micro-batch"), ("tokens", "tokens in a row"), ("kept", "logits of evaluation"))
    knobs = "".join(_menu(name, label, names, values[name]) for name, label, names in menus)
    knobs = f'<div class="mc-menus">{knobs}</div>'
    knobs += "".join(slider(name, label, values[name], 0, len(config[name]) - 1) for name, label in sliders)
    toggles = "".join(button(text, name, add={name: 1}) for name, text in switches.items())
    hidden = "".join(
        f'<input type="hidden" data-in="{name}" value="{values[name]}" autocomplete="off">' for name in switches
    )
    return (
        f'<div data-key="frame"><div class="cw-cols"><div class="cw-left mc-knobs">{knobs}{hidden}'
        f'<div class="mc-switches" role="group" aria-label="switches">{toggles}</div></div>'
        '<div class="cw-right mc-right"><div class="mc-verdict"><span class="mc-sign" data-key="sign" '
        'aria-hidden="true"></span><div><b data-key="verdict"></b><span class="cw-big" data-key="peak"></span> '
        f'<span data-key="of"></span></div></div>{_bars()}{_legend()}</div></div>{_table()}'
        f'<p class="mc-enough" data-key="enough"></p><p class="cw-note">{FOOT}</p></div>'
    )


def plain(state: State) -> str:
    """The bars as a table of characters."""
    rows = ""
    for i, phase in enumerate(PHASES):
        widths = [float(state[f"s{i}{j}@style"][6:-1]) for j in range(len(SEGMENTS))]
        bar = "█" * round(PLAIN_BAR * sum(widths) / 100)
        rows += f"<tr><td>{phase}</td><td>{bar}</td><td>{state[f'size{i}']}</td></tr>"
    enough = html.escape(state["enough"] or "")
    return f"<table><tbody>{rows}</tbody></table><p>{html.escape(state['limit_text'] or '')}. {enough}</p>"


def _menu(name: str, label: str, names: Iterable[str], chosen: int) -> str:
    options = "".join(
        f'<option value="{i}"{" selected" * (i == chosen)}>{html.escape(text)}</option>' for i, text in enumerate(names)
    )
    return (
        f'<div><label for="%CARD%-{name}">{label}</label><select id="%CARD%-{name}" data-in="{name}" '
        f'data-lm-suppress-shortcuts="true" autocomplete="off">{options}</select></div>'
    )


def _bars() -> str:
    rows = ""
    for i, phase in enumerate(PHASES):
        parts = "".join(f'<i class="mc-s{j}" data-key="s{i}{j}"></i>' for j in range(len(SEGMENTS)))
        rows += (
            f'<div data-key="phase{i}"><span>{phase}</span>'
            f'<span class="mc-track" aria-hidden="true">{parts}</span><b data-key="size{i}"></b></div>'
        )
    return (
        '<div class="mc-bars" role="group" aria-label="memory held in each phase">'
        '<div class="mc-over" aria-hidden="true"><i class="mc-beyond" data-key="beyond"></i>'
        '<i class="mc-limit" data-key="limit"></i><span data-key="limit_text"></span></div>'
        f"{rows}</div>"
    )


def _legend() -> str:
    items = "".join(
        f'<div><i class="mc-s{j}" aria-hidden="true"></i><span>{name}</span><b data-key="part{j}"></b></div>'
        for j, name in enumerate(SEGMENTS)
    )
    return f'<p class="mc-at" data-key="at_peak"></p><div class="mc-legend">{items}</div>'


def _table() -> str:
    rows = "".join(
        f'<tr data-key="change{k}"><td>{what}</td><td>{price}</td>'
        f'<td data-key="alone{k}"></td><td data-key="then{k}"></td></tr>'
        for k, (what, price, _) in enumerate(CHANGES)
    )
    head = "<tr><th>each alone makes it smaller</th><th>price</th><th>peak</th><th>then</th></tr>"
    return f'<table class="mc-changes"><thead>{head}</thead><tbody>{rows}</tbody></table>'

"""The sampling card's HTML before anything is written into it, and its picture in plain characters."""

from __future__ import annotations

import html

from helpers.classroom.cards._card import State, button, slider

PLAIN_BAR = 24  # characters of the longest bar where no style shows
LABELS = {
    "temperature": "temperature T",
    "top_k": "top-k: the k likeliest",
    "top_p": "top-p: the fewest that hold p",
    "min_p": "min-p: share of the likeliest",
}
FOOT = (
    "The scale of the bars follows the longest. The black mark on a bar is how often the token was drawn, ± the "
    "standard error √(p(1 − p)/n)."
)


def template(values: dict[str, float], last: dict[str, int], unchanged: int, n_shown: int) -> str:
    """Sliders on the left, rows on the right.

    last       the last position of each slider
    unchanged  the position of temperature 1
    """
    sliders = "".join(slider(name, label, values[name], 0, last[name]) for name, label in LABELS.items())
    reset = {"temperature": unchanged, "top_k": last["top_k"], "top_p": last["top_p"], "min_p": 0}
    order = "".join(
        button(text, f"order{k}", set_to={"order": k}) for k, text in enumerate(("filters first", "temperature first"))
    )
    hidden = "".join(
        f'<input type="hidden" data-in="{name}" value="{values[name]}" autocomplete="off">'
        for name in ("order", "seed")
    )
    return (
        '<p class="cw-error" role="alert" data-key="error"></p><div class="cw-cols"><div class="cw-left cw-knobs">'
        f'{sliders}{hidden}<div class="cw-order" role="group" aria-label="order of the two">{order}</div>'
        f"{slider('n', 'draws', values['n'], 0, last['n'])}"
        f"{button('draw again', add={'seed': 1})}{button('T = 1, no filter', set_to=reset)}</div>"
        f'<div class="cw-right cw-rows">{_table(n_shown)}'
        f'<p class="cw-note">{FOOT}</p><p class="cw-note" data-key="note"></p></div></div>'
    )


def plain(state: State, names: list[str]) -> str:
    """The rows as a table with bars of characters."""
    styles = [state[f"bar{i}@style"] or "" for i in range(len(names))]
    widths = [float(style[6:-1]) if style.startswith("width:") else 0.0 for style in styles]
    longest = max(widths)
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{'█' * round(PLAIN_BAR * width / longest)}</td>"
        f"<td>{state[f'p{i}']}</td></tr>"
        for i, (name, width) in enumerate(zip(names, widths, strict=True))
    )
    if state["others@hidden"] is None:
        rows += f"<tr><td>all other tokens</td><td></td><td>{state['other_p']}</td></tr>"
    return f"<table><tbody>{rows}</tbody></table>"


def _table(n_shown: int) -> str:
    head = (
        '<tr><th class="cw-mark">filter</th><th class="cw-name">token</th><th><span data-key="axis"></span>'
        '<small>rescaled</small></th><th class="cw-own">model<small>at T = 1</small></th><th class="cw-p">now'
        '<small>exactly</small></th><th class="cw-f"><span data-key="draws"></span>'
        "<small>share ± error</small></th></tr>"
    )
    rows = "".join(
        f'<tr data-key="row{i}"><td data-key="mark{i}"></td><th scope="row" data-key="name{i}"></th>'
        f'<td><span class="cw-track" aria-hidden="true"><span class="cw-bar" data-key="bar{i}"></span>'
        f'<span class="cw-whisker" data-key="whisker{i}"></span></span></td><td class="cw-own" data-key="own{i}"></td>'
        f'<td class="cw-p" data-key="p{i}"></td><td data-key="f{i}"></td></tr>'
        for i in range(n_shown)
    )
    other = (
        '<tr data-key="others"><th scope="row" colspan="3" data-key="other"></th>'
        '<td class="cw-own" data-key="other_own"></td><td class="cw-p" data-key="other_p"></td>'
        '<td data-key="other_f"></td></tr>'
    )
    return (
        f'<table class="cw-next" aria-label="the likeliest next tokens"><thead>{head}</thead>'
        f"<tbody>{rows}{other}</tbody></table>"
    )

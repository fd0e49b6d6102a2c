"""What the sampling tree shows at each position of its sliders; tree.js does the same in the page."""

from __future__ import annotations

import html
import math

from helpers.classroom.cards._card import State, button, slider

TEMPERATURES = [t / 10 for t in range(21)]
TOP_K = (1, 2, 3, 5, 10, 50, None)
N_BRANCHES = 5  # favourites that are branches of their own
N_EXACT = 10  # favourites whose logits the page knows, for every top-k up to here
WIDE = 50  # the one top-k above, for which the page gets the sum
N_COLUMNS = 4
REST_ROW, TAKEN_ROW = N_BRANCHES, N_BRANCHES + 1  # all other tokens; the one of them that was taken
ROW, EDGE = 38, 46  # px: height of a row, width of the edges before a column
HEIGHT = ROW * (TAKEN_ROW + 1)
THICKEST = 15  # px of an edge with probability 1
SHOWN_CHARACTERS = 90  # of the prompt and of the path


def branch_probs(node: list, temperature: float, top_k: int | None) -> list[float]:
    """The probability of each favourite when the next token is drawn, and of all other tokens together.

    node  as `expand` makes it; top_k one of TOP_K
    """
    probs = [token_prob(node, d, j, temperature, top_k) for j, d in enumerate([0.0, *node[2]][:N_BRANCHES])]
    return [*probs, max(0.0, 1 - sum(probs))]


def token_prob(node: list, distance: float, rank: int, temperature: float, top_k: int | None) -> float:
    """The probability of a token of that rank from 0 whose logit lies `distance` below the highest."""
    if rank >= (1 if temperature == 0 else top_k or math.inf):
        return 0.0
    if temperature == 0:
        return 1.0
    if top_k is not None and top_k <= N_EXACT:
        log_sum = math.log(sum(math.exp(-d / temperature) for d in [0.0, *node[2]][:top_k]))
    else:
        log_sum = node[4 if top_k else 3][TEMPERATURES.index(temperature) - 1]
    return math.exp(-distance / temperature - log_sum)


def log_prob(steps: list) -> float:
    """ln of the product of the steps' probabilities, each (..., label, ln p at temperature 1, ...)."""
    return sum(step[2] for step in steps)


def tree_state(values: dict[str, float], config: dict) -> State:
    """Every text and attribute of the card for `temperature`, `top_k`, both slider positions, and `back` steps."""
    temperature, top_k = TEMPERATURES[int(values["temperature"])], TOP_K[int(values["top_k"])]
    path, n = config["path"], len(config["path"])
    hidden = max(0, n - N_COLUMNS + 1)  # steps that have left the picture on its left side
    back = min(int(values["back"]), hidden)
    k_text = f"{top_k} favourites" if top_k else f"all {config['V']:,} tokens"
    state: State = {
        "summary": _summary(config),
        "prompt": _end(config["prompt"]),
        "text": _end(_joined(step[1] for step in path)),
        "temperature_text": f"{temperature:.1f}",
        "temperature_in@aria-valuetext": f"temperature {temperature:.1f}",
        "top_k_text": k_text,
        "top_k_in@aria-valuetext": k_text,
        "back_row@hidden": None if hidden else "",
        "back_in@max": f"{hidden}",
        "back_text": f"{back} steps" if back else "the newest",
        "back_in@aria-valuetext": f"{back} steps back",
        "notice": config["notice"] or _note(config),
        "error": config["error"] or "",
        "error@hidden": None if config["error"] else "",
        **_line("own", [step[2] for step in path], _joined(step[1] for step in path)),
        **_line("greedy", [p for _, p in config["greedy"][:n]], _joined(t for t, _ in config["greedy"][:n])),
        "versus": _versus(config),
        "button_back@disabled": None if n else "",
        "button_again@disabled": None if n else "",
    }
    for i in range(N_COLUMNS):
        state |= _column(i, n - N_COLUMNS + 1 + i - back, temperature, top_k, config)
    return state


def _column(i: int, step: int, temperature: float, top_k: int | None, config: dict) -> State:
    path = config["path"]
    node = config["nodes"].get(",".join(str(s[0]) for s in path[: max(step, 0)]))
    if step < 0 or step > len(path) or node is None:
        return {f"c{i}@hidden": ""}
    taken = path[step] if step < len(path) else None
    head = f"{step + 1} · {taken[3]}" if taken else f"{step + 1} · next token"
    labels = [*map(_quoted, node[1].split("\t")), "the rest"]
    probs = branch_probs(node, temperature, top_k)
    if taken and taken[4] >= N_BRANCHES:
        labels.append(_quoted(taken[1]))
        probs.append(token_prob(node, -node[3][9] - taken[2], taken[4], temperature, top_k))
    chosen = _row_of(taken) if taken else None
    origin = _row_y(_row_of(path[step - 1])) if step else _row_y(2)
    state: State = {f"c{i}@hidden": None, f"c{i}@aria-label": f"step {head}", f"h{i}": head}
    for j in range(TAKEN_ROW + 1):
        state |= _branch(f"{i}{j}", labels[j] if j < len(labels) else None, probs[j] if j < len(labels) else 0.0,
                         origin, j, j == chosen)  # fmt: skip
    return state


def _branch(name: str, label: str | None, p: float, origin: float, row: int, taken: bool) -> State:
    if label is None:
        return {f"b{name}@hidden": "", f"e{name}@visibility": "hidden"}
    y = _row_y(row)
    return {
        f"b{name}@hidden": None,
        f"b{name}@aria-pressed": "true" if taken else None,
        f"b{name}@style": f"--p:{100 * p:.1f}%",
        f"t{name}": label,
        f"p{name}": _percent(p),
        f"e{name}@visibility": None,
        f"e{name}@class": "on" if taken else ("off" if p == 0 else None),
        f"e{name}@d": f"M0 {origin:g}C{EDGE / 2:g} {origin:g} {EDGE / 2:g} {y:g} {EDGE} {y:g}",
        f"e{name}@stroke-width": f"{max(3.0 if taken else 1.0, THICKEST * p):.1f}",
    }


def _row_of(step: list) -> int:
    return step[4] if step[4] < N_BRANCHES else TAKEN_ROW


def _row_y(row: int) -> float:
    return ROW * (row + 0.5)


def _summary(config: dict) -> str:
    path = config["path"]
    said = f"After “{_end(config['prompt'], 40)}”"
    if not path:
        return f"{said} {_favourite(config)}. Draw it, or choose a branch."
    text = _end(_joined(step[1] for step in path), 40)
    tokens = f"{len(path)} token{'s' * (len(path) > 1)}"
    return f"{said} came {tokens}, “{text}”: probability {_number(log_prob(path))}. Next, {_favourite(config)}."


def _favourite(config: dict) -> str:
    node = config["nodes"].get(",".join(str(step[0]) for step in config["path"]))
    if node is None:
        return "the model has to be asked"
    return f"the favourite is {_quoted(node[1].split(chr(9))[0])} with {_percent(math.exp(-node[3][9]))}"


def _versus(config: dict) -> str:
    n = len(config["path"])
    if not n or n > len(config["greedy"]):
        return ""
    gap = sum(p for _, p in config["greedy"][:n]) - log_prob(config["path"])
    if abs(gap) < 1e-4:
        return "As probable as the greedy path."
    times = f"{_times(abs(gap))} times"
    if gap > 0:
        return f"The greedy path is {times} as probable as this one."
    return f"This path is {times} as probable as the greedy one: the favourite of each step need not be the best whole."


def _note(config: dict) -> str:
    beyond = config["n_prompt"] + len(config["path"]) - config["context"]
    cut = f"The model reads only the last {config['context']:,} tokens, so the first {beyond:,} are not seen. "
    return (cut if beyond > 0 else "") + (
        "Branches show what a draw does at this temperature and top-k; the table has the model’s own probabilities."
    )


def _line(name: str, log_probs: list[float], text: str) -> State:
    total = sum(log_probs)
    return {
        f"{name}_path": f"“{_end(text, 40)}”" if log_probs else "–",
        f"{name}_p": _number(total) if log_probs else "–",
        f"{name}_ln": _signed(total) if log_probs else "–",
        f"{name}_mean": _signed(total / len(log_probs)) if log_probs else "–",
    }


def _joined(labels: object) -> str:
    return "".join(labels).replace("\\n", "⏎")


def _end(text: str, n: int = SHOWN_CHARACTERS) -> str:
    characters = list(text)
    return text if len(characters) <= n else "…" + "".join(characters[1 - n :])


def _quoted(label: str) -> str:  # as Python writes a string: double quotes where a single one stands inside
    quote = '"' if "'" in label and "\\'" not in label else "'"
    return quote + label + quote


def _percent(p: float) -> str:
    return "0\u00a0%" if p == 0 else "< 0.1\u00a0%" if p < 0.0005 else f"{100 * p:.1f}\u00a0%"


def _signed(x: float) -> str:
    return f"{x:.2f}".replace("-", "−")


def _times(log: float) -> str:
    """exp(log) as a factor: 1.3, 12, 2,700; from a trillion on as `_number` has it."""
    if log >= math.log(1e12):
        return _number(log)
    x = math.exp(log)
    return f"{float(f'{x:.2g}'):,.0f}" if x >= 9.95 else f"{x:.1f}" if x >= 1.05 else f"{x:.3f}"


def _number(log: float) -> str:
    """exp(log) to three digits; a long path's probability is below what a float can hold."""
    if -math.log(1000) <= log <= math.log(1000):
        x = math.exp(log)
        return f"{x:.1f}" if x >= 10 else f"{x:.2f}" if x >= 1 else f"{x:.4f}"
    power = math.floor(log / math.log(10))
    mantissa = f"{math.exp(log - power * math.log(10)):.1f}"
    if mantissa == "10.0":
        power, mantissa = power + 1, "1.0"
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def template(values: dict[str, float], config: dict) -> str:
    """The card's HTML without its state."""
    hidden = max(0, len(config["path"]) - N_COLUMNS + 1)
    columns = "".join(_column_template(i) for i in range(N_COLUMNS))
    rows = "".join(
        f'<tr><td>{title}</td><td data-key="{name}_path"></td><td data-key="{name}_p"></td>'
        f'<td data-key="{name}_ln"></td><td data-key="{name}_mean"></td></tr>'
        for name, title in (("own", "this path"), ("greedy", "greedy path"))
    )
    return (
        '<p class="cw-error" role="alert" data-key="error"></p>'
        '<p class="tr-text"><span data-key="prompt"></span><b data-key="text"></b></p><div>'
        f"{_act('Draw the next token', 'draw')}{_act('Take the favourite', 'favourite')}"
        f"{_act('One step back', 'back', 'button_back')}{_act('Start again', 'again', 'button_again')}</div>"
        '<div class="cw-cols"><div class="cw-left">'
        f"{slider('temperature', 'temperature', values['temperature'], 0, len(TEMPERATURES) - 1)}"
        f'</div><div class="cw-left">{slider("top_k", "top-k", values["top_k"], 0, len(TOP_K) - 1)}</div>'
        f'<div class="cw-left" data-key="back_row">{slider("back", "look back", 0, 0, hidden)}</div></div>'
        f'<div class="tr"><div class="tr-tree">{columns}</div><table class="tr-paths"><thead><tr><th></th><th></th>'
        "<th>probability</th><th>ln p</th><th>ln p per token</th></tr></thead>"
        f'<tbody>{rows}</tbody></table></div><p data-key="versus"></p><p class="cw-note" data-key="notice"></p>'
    )


def plain(state: State) -> str:
    """The tree as a table, where styles and pictures are taken away."""
    shown = [i for i in range(N_COLUMNS) if state[f"c{i}@hidden"] is None]
    head = "".join(f"<th>{state[f'h{i}']}</th>" for i in shown)
    rows = ""
    for j in range(TAKEN_ROW + 1):
        cells = (_plain_cell(f"{i}{j}", state) for i in shown)
        rows += f"<tr>{''.join(cells)}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _plain_cell(name: str, state: State) -> str:
    if state[f"b{name}@hidden"] is not None:
        return "<td></td>"
    text = f"{html.escape(state[f't{name}'] or '', quote=False)} {state[f'p{name}']}"
    return f"<td><b>▸ {text}</b></td>" if state[f"b{name}@aria-pressed"] else f"<td>{text}</td>"


def _act(text: str, what: str, name: str = "") -> str:
    return button(text, name, add={}).replace(" data-add='{}'", f' data-do="{html.escape(what)}"')


def _column_template(i: int) -> str:
    edges = "".join(f'<path data-key="e{i}{j}"/>' for j in (*reversed(range(TAKEN_ROW)), TAKEN_ROW))
    branches = "".join(
        f'<button type="button" data-key="b{i}{j}" data-branch="{i}{j}"{" tabindex=-1" * (j > 0)}>'
        f'<span data-key="t{i}{j}"></span><span data-key="p{i}{j}"></span></button>'
        for j in range(TAKEN_ROW + 1)
    )
    return (
        f'<div class="tr-col" role="group" data-key="c{i}"><b data-key="h{i}"></b>'
        f'<svg viewBox="0 0 {EDGE} {HEIGHT}" width="{EDGE}" height="{HEIGHT}" aria-hidden="true">{edges}</svg>'
        f"{branches}</div>"
    )

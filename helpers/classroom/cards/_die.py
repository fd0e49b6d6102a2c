"""Perplexity as the faces of a fair die: how unsure a prediction is before the roll, how surprised after it."""

from __future__ import annotations

import math

from helpers.classroom.cards._card import Card, State, button, slider

MAX_FACES, MIN_FACES = 12, 2
MAX_WEIGHT = 20
AXIS_NATS = 6.0  # holds the largest finite surprise: one weight of 1 against eleven of 20 is 5.4 nats
SQUARE, GAP = 34, 6  # px of the dice that are filled up to the perplexity
FAIR, LOADED, CERTAIN = (10, 10), (20, 2), (20, 0)  # weight of face 1, weight of every other face


def perplexity_die(faces: int = 6) -> Card:
    """A die whose weights the reader shapes: probabilities, entropy, perplexity, and the surprise once a face has come.

    faces  whole number in [2, 12]; the die starts fair

    ValueError: any other number of faces.
    """
    if not isinstance(faces, int) or isinstance(faces, bool) or not MIN_FACES <= faces <= MAX_FACES:
        raise ValueError(f"faces must be a whole number in [{MIN_FACES}, {MAX_FACES}], got {faces!r}")
    values = {"faces": faces, "rolled": 1} | _weights(FAIR)
    text = f"die widget: a fair die with {faces} faces has perplexity {faces:.1f}"
    return Card(
        kind="die",
        title="As unsure as a fair die with how many faces?",
        template=_template(values),
        values=values,
        config={},
        compute=die_state,
        text=text,
    )


def die_state(values: dict[str, float], config: dict) -> State:
    """Every text and attribute of the card for `faces`, `rolled` and the weights `w1` to `w12`; die.js agrees."""
    faces, rolled = int(values["faces"]), int(min(values["rolled"], values["faces"]))
    weights = [values[f"w{k}"] if k <= faces else 0 for k in range(1, MAX_FACES + 1)]
    total = sum(weights)
    probs = [w / total if total else 0.0 for w in weights]
    # p ln(1/p), so that a certain die shows 0.00 and not -0.00
    entropy = sum(p * math.log(1 / p) for p in probs if p)
    chance = probs[rolled - 1]
    perplexity_after = 1 / chance if chance else math.inf  # not exp(surprise): exp(ln 6.25) may fall short of 6.25
    surprise = math.log(perplexity_after)
    perplexity = math.exp(entropy) if total else 0.0
    likeliest = max(probs) or 1.0  # bars are drawn relative to it: on an axis to 1, twelve fair faces would hardly show
    state: State = {
        "summary": _summary(total, entropy, perplexity, rolled, perplexity_after),
        "big": f"{perplexity:.1f} faces" if total else "no die",
        "faces_text": f"{faces} faces",
        "faces_in@aria-valuetext": f"{faces} faces",
        "rolled_text": f"face {rolled}",
        "rolled_in@aria-valuetext": f"face {rolled}",
        "rolled_in@max": f"{faces}",
        **_measures("before", entropy if total else math.inf, perplexity),
        **_measures("after", surprise, perplexity_after),
    }
    for k in range(1, MAX_FACES + 1):
        share = f"{100 * probs[k - 1]:.1f}"
        state[f"face{k}@hidden"] = None if k <= faces else ""
        state[f"p{k}"] = f"{share} %"
        state[f"p{k}@class"] = "cw-on" if k == rolled else None
        state[f"bar{k}@style"] = f"width:{100 * probs[k - 1] / likeliest:.1f}%"
        state[f"w{k}_in@aria-valuetext"] = f"weight {weights[k - 1]:.0f}, probability {share} %"
        state[f"die{k}@visibility"] = None if k <= faces else "hidden"
        state[f"fill{k}@width"] = f"{SQUARE * min(max(perplexity - k + 1, 0.0), 1.0):.1f}"
    return state


def _measures(row: str, nats: float, perplexity: float) -> State:
    finite = math.isfinite(nats)
    return {
        f"{row}_nats": f"{nats:.2f}" if finite else "∞",
        f"{row}_bits": f"{nats / math.log(2):.2f}" if finite else "∞",
        f"{row}_exp": f"{perplexity:.1f}" if finite else "∞",
        f"{row}_bar@style": f"width:{100 * min(nats / AXIS_NATS, 1.0):.1f}%",
    }


def _summary(total: float, entropy: float, perplexity: float, rolled: int, perplexity_after: float) -> str:
    if not total:
        return "Every weight is 0, so nothing can happen: raise one."
    before = f"Before the roll: entropy {entropy:.2f} nats, as unsure as a fair die with {perplexity:.1f} faces."
    if math.isinf(perplexity_after):
        return f"{before} Face {rolled} was called impossible: if it comes, the loss is infinite."
    surprise = math.log(perplexity_after)
    return f"{before} After face {rolled}: loss {surprise:.2f} nats, perplexity {perplexity_after:.1f}."


def _weights(of: tuple[int, int]) -> dict[str, int]:
    first, rest = of
    return {f"w{k}": first if k == 1 else rest for k in range(1, MAX_FACES + 1)}


def _template(values: dict) -> str:
    width = MAX_FACES * (SQUARE + GAP)
    dice = "".join(
        f'<g data-key="die{k}" transform="translate({(k - 1) * (SQUARE + GAP) + 1} 1)">'
        f'<rect data-key="fill{k}" height="{SQUARE}" fill="#0072b2"/>'
        f'<rect width="{SQUARE}" height="{SQUARE}" rx="5" fill="none" stroke="#16191d" stroke-width="1.5"/>'
        f'<text x="{SQUARE / 2}" y="{SQUARE + 18}" text-anchor="middle">{k}</text></g>'
        for k in range(1, MAX_FACES + 1)
    )
    picture = (
        f'<svg width="{width}" height="{SQUARE + 24}" viewBox="0 0 {width} {SQUARE + 24}" role="img" '
        f'aria-label="One square per face, filled up to the perplexity">{dice}</svg>'
    )
    rows = "".join(
        f'<div class="cw-face" data-key="face{k}"><label for="%CARD%-w{k}">face {k}</label>'
        f'<input type="range" id="%CARD%-w{k}" data-in="w{k}" data-key="w{k}_in" min="0" max="{MAX_WEIGHT}" '
        f'value="{values[f"w{k}"]}" autocomplete="off">'
        f'<span class="cw-track"><span class="cw-bar" data-key="bar{k}"></span></span><b data-key="p{k}"></b></div>'
        for k in range(1, MAX_FACES + 1)
    )
    presets = "".join(
        button(name, set_to=_weights(of)) for name, of in (("fair", FAIR), ("loaded", LOADED), ("certain", CERTAIN))
    )
    head = "<tr><th></th><th>nats</th><th>bits</th><th>exp(nats)</th><th>0 to 6 nats</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>" + "".join(
        f"<tr><td>{name}</td>"
        f'<td data-key="{row}_nats"></td><td data-key="{row}_bits"></td><td data-key="{row}_exp"></td>'
        f'<td><span class="cw-track"><span class="cw-bar {css}" data-key="{row}_bar"></span></span></td></tr>'
        for row, name, css in (("before", "entropy, before", ""), ("after", "surprise, after", "cw-b"))
    )
    return (
        '<div class="cw-cols"><div class="cw-left cw-shape">'
        f"{slider('faces', 'the die has', values['faces'], MIN_FACES, MAX_FACES)}"
        f'<div>{presets}</div><div class="cw-faces" style="margin-top:10px">{rows}</div></div>'
        f'<div class="cw-right cw-wide"><div class="cw-big" data-key="big"></div>'
        f"<p>on a fair die would leave you as unsure</p>{picture}"
        f"{slider('rolled', 'then it shows', values['rolled'], 1, MAX_FACES)}{table}</tbody></table>"
        '<p class="cw-note">Over many rolls of this very die, the mean surprise is the entropy. '
        "Bars on the left are relative to the likeliest face.</p></div></div>"
    )

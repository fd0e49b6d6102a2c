"""One loss, two characters: a predictor that is unsure and one that is confidently wrong, at the same perplexity."""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.classroom.cards._card import Card, State, slider

MIN_LOSS, LOSS_STEP = 0.2, 0.05  # nats
CONFIDENCES = (0.10, 0.99, 0.01)  # lowest, highest, step
MIN_VOCAB, MAX_VOCAB = 100, 1_000_000
X0, Y0, WIDTH, HEIGHT = 52, 12, 340, 300  # the picture's frame, in px
LARGEST_DOT = 20.0  # radius in px of a dot that holds every token; the area is the share


@dataclass(frozen=True)
class Predictor:
    """What a predictor's numbers look like over many tokens; entropies and surprises in nats.

    accuracy    share of tokens whose favourite word was right
    confidence  mean probability of the favourite
    groups      (share of tokens, entropy of the prediction, surprise at the target)
    hit_costs   mean surprise where the favourite was right; miss_costs where it was not
    """

    accuracy: float
    confidence: float
    groups: tuple[tuple[float, float, float], ...]
    hit_costs: float
    miss_costs: float

    @property
    def entropy(self) -> float:
        return sum(share * entropy for share, entropy, _ in self.groups)

    @property
    def surprise(self) -> float:
        return sum(share * surprise for share, _, surprise in self.groups)


def unsure_predictor(loss_nats: float) -> Predictor:
    """Spreads its chips evenly over a few words of which one is right: k words on some tokens, k + 1 on the others.

    With k = floor(exp(loss)) and a share a of k-word tokens, a ln k + (1 - a) ln(k + 1) = loss has one solution a in
    [0, 1] for every loss > 0. Entropy equals surprise on each token, and accuracy equals confidence: it knows what it
    does not know.
    """
    k = int(math.exp(loss_nats) + 1e-9)  # exp(ln 55) may come out just below 55
    a = min(max((math.log(k + 1) - loss_nats) / (math.log(k + 1) - math.log(k)), 0.0), 1.0)
    groups = ((a, math.log(k), math.log(k)), (1 - a, math.log(k + 1), math.log(k + 1)))
    accuracy = a / k + (1 - a) / (k + 1)
    on_hits = a * math.log(k) / k + (1 - a) * math.log(k + 1) / (k + 1)
    hit_costs, miss_costs = on_hits / accuracy, (loss_nats - on_hits) / (1 - accuracy)
    return Predictor(accuracy, accuracy, groups, hit_costs, miss_costs)


def betting_predictor(loss_nats: float, confidence: float, vocab_size: int) -> Predictor | None:
    """Always gives one word the probability c and every other word (1 - c) / (V - 1); the word is wrong with share w.

    A hit costs -ln c, a miss ln((V - 1) / (1 - c)); w = (loss - hit) / (miss - hit) makes the mean equal to the loss.
    None where no w in [0, 1] does: at c < exp(-loss) even hits alone cost more than the loss. A miss always costs
    more than ln V as long as c > 1 / V, so no loss up to ln V is too large.
    """
    hit, miss = -math.log(confidence), math.log((vocab_size - 1) / (1 - confidence))
    w = (loss_nats - hit) / (miss - hit)
    if not 0 <= w <= 1:
        return None
    entropy = confidence * hit + (1 - confidence) * miss
    groups = ((1 - w, entropy, hit), (w, entropy, miss))
    return Predictor(1 - w, confidence, groups, hit, miss)


def unsure_or_wrong(vocab_size: int = 50257, loss_nats: float = 4.0, confidence: float = 0.9) -> Card:
    """Two predictors of equal perplexity: `unsure_predictor` and `betting_predictor`, whose docstrings define them.

    vocab_size  V in [100, 1e6]
    loss_nats   both means, in [0.2, ln V]
    confidence  of the bets, in [0.10, 0.99]

    ValueError: outside these ranges.
    """
    if not isinstance(vocab_size, int) or not MIN_VOCAB <= vocab_size <= MAX_VOCAB:
        raise ValueError(f"vocab_size must be a whole number in [{MIN_VOCAB}, {MAX_VOCAB}], got {vocab_size!r}")
    if not MIN_LOSS <= loss_nats <= math.log(vocab_size):
        raise ValueError(f"loss_nats must be in [{MIN_LOSS}, ln V = {math.log(vocab_size):.2f}], got {loss_nats!r}")
    if not CONFIDENCES[0] <= confidence <= CONFIDENCES[1]:
        raise ValueError(f"confidence must be in [{CONFIDENCES[0]}, {CONFIDENCES[1]}], got {confidence!r}")
    values = {"loss": loss_nats, "confidence": confidence}
    config = {"V": vocab_size}
    text = f"predictors widget: {predictors_state(values, config)['summary']}"
    title = "Same loss: unsure, or confidently wrong?"
    return Card(
        kind="predictors",
        title=title,
        template=_template(values, config),
        values=values,
        config=config,
        compute=predictors_state,
        text=text,
    )


def predictors_state(values: dict[str, float], config: dict) -> State:
    """Every text and coordinate of the card for `loss` and `confidence`; predictors.js agrees."""
    loss, confidence, V = values["loss"], values["confidence"], config["V"]
    unsure, betting = unsure_predictor(loss), betting_predictor(loss, confidence, V)
    state: State = {
        "loss_text": f"{loss:.2f} nats · perplexity {math.exp(loss):,.1f}",
        "loss_in@aria-valuetext": f"{loss:.2f} nats",
        "confidence_text": f"{100 * confidence:.0f} %",
        "confidence_in@aria-valuetext": f"{100 * confidence:.0f} %",
        "mean@y1": f"{_y(loss, V):.1f}",
        "mean@y2": f"{_y(loss, V):.1f}",
        "mean_text@y": f"{_y(loss, V) - 6:.1f}",
        "mean_text@x": f"{X0 + (WIDTH if loss < _ends(V)[0] * 0.4 else 170)}",
        **_column("a", unsure),
        **_column("b", betting),
        **_dots("a", unsure, V),
        **_dots("b", betting, V),
    }
    if betting is None:
        state["summary"] = (
            f"No bettor has this loss: with only {100 * confidence:.0f} % on its word, even being right every time "
            f"costs {-math.log(confidence):.2f} nats. Raise the confidence above "
            f"{100 * math.exp(-loss):.0f} %, or the loss."
        )
    else:
        state["summary"] = (
            f"Both have perplexity {math.exp(loss):,.1f}. The unsure one hesitates between that many words and is "
            f"right {_percent(unsure.accuracy)} of the time; the bettor is right {_percent(betting.accuracy)} "
            f"of the time, and pays {betting.miss_costs:.1f} nats for a miss."
        )
    return state


def _column(name: str, predictor: Predictor | None) -> State:
    if predictor is None:
        return {
            f"{name}_{row}": "–" for row in ("accuracy", "confidence", "gap", "entropy", "surprise", "hits", "misses")
        }
    gap = predictor.confidence - predictor.accuracy
    return {
        f"{name}_accuracy": _percent(predictor.accuracy),
        f"{name}_confidence": _percent(predictor.confidence),
        f"{name}_gap": f"{100 * gap:+.1f} points" if abs(gap) > 1e-9 else "0.0 points",
        f"{name}_entropy": f"{predictor.entropy:.2f}",
        f"{name}_surprise": f"{predictor.surprise:.2f}",
        f"{name}_hits": f"{predictor.hit_costs:.2f}",
        f"{name}_misses": f"{predictor.miss_costs:.2f}",
    }


def _dots(name: str, predictor: Predictor | None, vocab_size: int) -> State:
    state: State = {}
    for i in range(2):
        share, entropy, surprise = predictor.groups[i] if predictor else (0.0, 0.0, 0.0)
        state |= _dot(f"{name}{i}", _x(entropy, vocab_size), _y(surprise, vocab_size), LARGEST_DOT * math.sqrt(share))
    return state


def _dot(key: str, x: float, y: float, radius: float) -> State:
    if key[0] == "a":
        return {f"{key}@cx": f"{x:.1f}", f"{key}@cy": f"{y:.1f}", f"{key}@r": f"{radius:.1f}"}
    half = radius * math.sqrt(math.pi) / 2  # a square of the same area
    return {
        f"{key}@x": f"{x - half:.1f}",
        f"{key}@y": f"{y - half:.1f}",
        f"{key}@width": f"{2 * half:.1f}",
        f"{key}@height": f"{2 * half:.1f}",
        f"{key}_text@x": f"{x + half + 8:.1f}",
        f"{key}_text@y": f"{y + 5:.1f}",
        f"{key}_text@visibility": None if radius > 0 else "hidden",
    }


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _ends(vocab_size: int) -> tuple[int, int]:  # both axes hold every reachable point
    highest = math.log((vocab_size - 1) / (1 - CONFIDENCES[1]))
    return math.ceil(math.log(vocab_size)), math.ceil(highest)


def _x(entropy: float, vocab_size: int) -> float:
    return X0 + entropy / _ends(vocab_size)[0] * WIDTH


def _y(surprise: float, vocab_size: int) -> float:
    return Y0 + HEIGHT * (1 - surprise / _ends(vocab_size)[1])


def _template(values: dict, config: dict) -> str:
    V = config["V"]
    loss_slider = slider("loss", "mean loss", values["loss"], MIN_LOSS, 0, LOSS_STEP)
    highest = MIN_LOSS + LOSS_STEP * math.floor((math.log(V) - MIN_LOSS) / LOSS_STEP)
    loss_slider = loss_slider.replace('max="0"', f'max="{highest:.2f}"')
    low, high, step = CONFIDENCES
    rows = (
        ("accuracy", "accuracy"), ("confidence", "confidence"), ("gap", "confidence − accuracy"),
        ("entropy", "mean entropy, nats"), ("surprise", "mean surprise, nats"), ("hits", "… of a hit, nats"),
        ("misses", "… of a miss, nats"),
    )  # fmt: skip
    table = (
        '<table><thead><tr><th></th><th><span style="color:#0072b2">●</span> unsure</th>'
        '<th><span style="color:#d55e00">■</span> betting</th></tr></thead><tbody>'
        + "".join(f'<tr><td>{t}</td><td data-key="a_{k}"></td><td data-key="b_{k}"></td></tr>' for k, t in rows)
        + "</tbody></table>"
    )
    return (
        f'<div class="cw-cols"><div class="cw-left cw-table">{loss_slider}'
        f"{slider('confidence', 'the bettor puts on its word', values['confidence'], low, high, step)}{table}</div>"
        f'<div class="cw-right">{_picture(V)}</div></div>'
    )


def _picture(V: int) -> str:
    right, bottom = X0 + WIDTH, Y0 + HEIGHT
    x_end, y_end = _ends(V)
    ticks = "".join(
        f'<text x="{_x(t, V):.1f}" y="{bottom + 35}" text-anchor="middle">{t}</text>' for t in range(0, x_end + 1, 2)
    ) + "".join(
        f'<line x1="{X0}" x2="{right}" y1="{_y(t, V):.1f}" y2="{_y(t, V):.1f}" stroke="#e3e7eb"/>'
        f'<text x="{X0 - 8}" y="{_y(t, V) + 5:.1f}" text-anchor="end">{t}</text>'
        for t in range(0, y_end + 1, 4)
    )
    middle = Y0 + HEIGHT / 2
    dots = "".join(
        f'<circle data-key="a{i}" fill="#0072b2" fill-opacity=".9" stroke="#16191d"/>'
        f'<rect data-key="b{i}" fill="#d55e00" fill-opacity=".9" stroke="#16191d"/>'
        f'<text class="cw-halo" data-key="b{i}_text">{name}</text>'
        for i, name in enumerate(("hits", "misses"))
    )
    return (
        f'<svg width="{right + 20}" height="{bottom + 62}" viewBox="0 0 {right + 20} {bottom + 62}" role="img" '
        'aria-label="Surprise against entropy, areas by share of tokens: circles on the diagonal for the unsure '
        f'predictor, two squares at one entropy for the betting one">{ticks}'
        f'<line x1="{X0}" y1="{bottom}" x2="{right}" y2="{_y(x_end, V):.1f}" stroke="#5b6470" stroke-dasharray="2 4"/>'
        f'<text x="{right}" y="{_y(0.52 * x_end, V):.1f}" class="cw-halo" text-anchor="end">surprise = entropy</text>'
        f'<line data-key="mean" x1="{X0}" x2="{right}" stroke="#16191d" stroke-dasharray="7 5"/>'
        f'<text data-key="mean_text" class="cw-halo" text-anchor="end">mean of both</text>{dots}'
        f'<text x="{(X0 + right) / 2}" y="{bottom + 57}" text-anchor="middle">entropy of the prediction, nats</text>'
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">surprise at the target, nats</text>'
        "</svg>"
    )

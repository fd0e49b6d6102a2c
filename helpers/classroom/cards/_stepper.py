"""The six steps from logits to the loss, one after the other, on two sentences that the reader may change."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import ipywidgets
import torch
from torch import Tensor

from helpers.classroom.cards._card import Card, State, button, display_above, next_id
from helpers.gpt import (
    IGNORED_TARGET,
    evaluating,
    gpt2,
    next_token_loss,
    perplexity,
    six_steps,
    token_labels,
    token_losses,
)

MAX_TARGETS = 8  # rows per sentence on the card
N_TOP = 3
PADDING_ID = 0  # what the shorter sentence is filled up with; nothing before it can see it, nothing there is scored
EXACT_RANKS = 100  # beyond, two digits: neighbours among 50,257 near-equal scores may swap in the last bit
STEPS = ("logits", "probabilities", "target's share", "logs", "mean", "negated")
Model = Callable[[Tensor], Tensor]


class LossStepper:
    """The card and, below it, two boxes for other sentences, which the model in the kernel then reads."""

    def __init__(self, model: Model, first: str, second: str) -> None:
        self.model = model
        self.numbers = stepper_numbers(model, first, second)
        self.boxes = [_box("first sentence", first), _box("second sentence", second)]
        self.feed = ipywidgets.HTML()
        self.card_ids: list[str] = []  # one for each time that it was displayed: all of them are fed
        for box in self.boxes:
            box.observe(self._recompute, names="value")

    def __repr__(self) -> str:
        return f"loss stepper: {_outcome(self.numbers)}"

    def _ipython_display_(self) -> None:
        card = Card(
            kind="stepper",
            title="From logits to the loss in six steps",
            template=_template(),
            values={"step": 1},
            config=self.numbers,
            compute=stepper_state,
            text=repr(self),
            still=f"{_outcome(self.numbers)} Run this cell to go through the steps.",
            attributes='data-arrows="step" data-fed="yes"',
        )
        card_id = next_id("stepper")
        self.card_ids.append(card_id)
        text = "two boxes for other sentences, where a kernel runs"
        display_above(card, card_id, [*self.boxes, self.feed], "cw-boxes", text)

    def _recompute(self, _change: object) -> None:
        first, second = (box.value for box in self.boxes)
        try:
            self.numbers = stepper_numbers(self.model, first, second)
        except ValueError as error:
            self.numbers = self.numbers | {"error": f"{error}. Below: the last two sentences that worked."}
        config = html.escape(_json(self.numbers))
        self.feed.value = f'<div data-feed="{" ".join(self.card_ids)}" data-config="{config}" hidden></div>'


def loss_stepper(
    model: Model, first: str = "every effort moves you", second: str = "I really like chocolate"
) -> LossStepper:
    """A card that goes through the six steps on two short sentences, with boxes to type others.

    model   token_ids (B, T) -> logits (B, T, V) over GPT-2's vocabulary
    first, second  sentences of 2 to 9 GPT-2 tokens

    ValueError: a sentence that is empty, too short or too long; typed into a box, it becomes a message on the card.
    """
    return LossStepper(model, first, second)


def stepper_numbers(model: Model, first: str, second: str) -> dict:
    """What the card shows, as JSON: per target the top scores, its logit, probability, rank and log; then the mean.

    Sentences of different length are padded to one batch; padded targets are -100 and are not scored.

    ValueError: as for `loss_stepper`.
    """
    sequences = [_encode(first, "first"), _encode(second, "second")]
    lengths = [len(s) - 1 for s in sequences]
    inputs = torch.full((2, max(lengths)), PADDING_ID)
    targets = torch.full((2, max(lengths)), IGNORED_TARGET)
    for row, sequence in enumerate(sequences):
        inputs[row, : lengths[row]] = torch.tensor(sequence[:-1])
        targets[row, : lengths[row]] = torch.tensor(sequence[1:])
    logits = _logits(model, inputs)  # (2, T, V)
    if logits.shape[-1] != gpt2().n_vocab:
        raise ValueError(
            f"the card needs a model over GPT-2's {gpt2().n_vocab:,} tokens, got one over {logits.shape[-1]:,}: "
            f"preset(..., vocab_size={gpt2().n_vocab})"
        )
    log_probs = -token_losses(logits, targets)  # (2, T), 0 where padded
    n_targets = sum(lengths)
    mean = log_probs.double().sum().item() / n_targets
    return {
        "V": logits.shape[-1],
        "sentences": [
            {"text": text, "rows": _rows(logits[i : i + 1, :n], targets[i : i + 1, :n], inputs[i], log_probs[i])}
            for i, (text, n) in enumerate(zip((first, second), lengths, strict=True))
        ],
        "n": n_targets,
        "mean": round(mean, 4),
        "cross_entropy": round(next_token_loss(logits, targets).item(), 4),
        "perplexity": _significant(perplexity(max(-mean, 0.0)), 5),
        "note": _note(lengths),
        "error": None,
    }


def stepper_state(values: dict[str, float], config: dict) -> State:
    """Every text of the card at `step` 1 to 6; stepper.js agrees."""
    step, V = int(values["step"]), f"{config['V']:,}"
    state: State = {
        "summary": f"Step {step} of 6, {STEPS[step - 1]}: {_said(step, V, config)}",
        "step_in@aria-valuetext": f"step {step} of 6, {STEPS[step - 1]}",
        "table@data-step": str(step),
        "top_head": f"{N_TOP} highest of {V} {'logits' if step == 1 else 'probabilities'}",
        "result": _result(step, config),
        "note": config["note"],
        "error": config["error"] or "",
        "error@hidden": None if config["error"] else "",
    }
    for k in range(1, len(STEPS) + 1):
        state[f"step{k}@aria-pressed"] = "true" if k == step else "false"
    for s, sentence in enumerate(config["sentences"]):
        state[f"s{s}"] = f"“{sentence['text']}”"
        for i in range(MAX_TARGETS):
            state |= _row_state(f"r{s}{i}", sentence["rows"][i] if i < len(sentence["rows"]) else None, step)
    return state


def _row_state(key: str, row: dict | None, step: int) -> State:
    if row is None:
        return {f"{key}@hidden": "", **{f"{key}{column}": "" for column in "abcdefg"}}
    tops = [f"{token} {_signed(logit)}" if step == 1 else f"{token} {_prob(p)}" for token, logit, p in row["top"]]
    return {
        f"{key}@hidden": None,
        f"{key}a": row["input"],
        f"{key}b": row["target"],
        f"{key}c": " · ".join(tops),
        f"{key}d": _signed(row["logit"]),
        f"{key}e": _prob(row["p"]),
        f"{key}f": row["rank"],
        f"{key}g": _signed(row["log"]),
    }


def _said(step: int, V: str, config: dict) -> str:
    return (
        f"each input gets {V} scores, one per token that could come next.",
        f"softmax makes the {V} scores of a row positive, with sum 1.",
        "of each row keep what the target got. This is what training raises.",
        "0 would be perfect. Logs turn a product of small numbers into a sum.",
        f"the average over all {config['n']} targets.",
        "a loss is to be made small, so the sign is turned.",
    )[step - 1]


def _result(step: int, config: dict) -> str:
    """The step on numbers: for the first target up to step 4, then for all of them."""
    rows = [row for sentence in config["sentences"] for row in sentence["rows"]]
    first = rows[0]
    terms = " ".join(f"− {-row['log']:.2f}" for row in rows)
    perplexity_digits = 1 if config["perplexity"] < 1000 else 0
    return (
        f"{first['target']} after {first['input']}: score {_signed(first['logit'])}",
        f"exp({_signed(first['logit'])}) / sum of {config['V']:,} such = {first['p']:.3e}",
        f"p({first['target']} after {first['input']}) = {first['p']:.3e}",
        f"ln {first['p']:.3e} = {_signed(first['log'])}",
        f"({terms}) / {config['n']} = {_signed(config['mean'], 4)}",
        f"loss {_signed(-config['mean'], 4)} nats · F.cross_entropy {config['cross_entropy']:.4f} · "
        f"perplexity {config['perplexity']:,.{perplexity_digits}f}",
    )[step - 1]


def _rows(logits: Tensor, targets: Tensor, inputs: Tensor, log_probs: Tensor) -> list[dict]:
    steps = six_steps(logits, targets)
    rows = []
    for t, target in enumerate(targets[0].tolist()):
        scores, probs = logits[0, t], steps.probs[0, t]
        top = scores.topk(min(N_TOP, len(scores))).indices.tolist()
        rank = 1 + int((scores > scores[target]).sum())
        row = {
            "input": token_labels([int(inputs[t])])[0],
            "target": token_labels([target])[0],
            "top": [[token_labels([j])[0], round(scores[j].item(), 4), _significant(probs[j].item())] for j in top],
            "logit": round(scores[target].item(), 4),
            "p": _significant(steps.target_probs[0, t].item()),
            "rank": f"{rank}" if rank <= EXACT_RANKS else f"≈ {_significant(rank, 2):,.0f}",
            "log": round(log_probs[t].item(), 4),
        }
        rows.append(row)
    return rows


def _encode(text: str, name: str) -> list[int]:
    ids = gpt2().encode(text, disallowed_special=()) if text.strip() else []
    if not 2 <= len(ids) <= MAX_TARGETS + 1:
        got = "nothing" if not ids else f"{len(ids)} token{'s' * (len(ids) > 1)} in {text[:60]!r}"
        raise ValueError(f"The {name} sentence needs 2 to {MAX_TARGETS + 1} tokens, got {got}")
    return ids


@torch.no_grad()
def _logits(model: Model, token_ids: Tensor) -> Tensor:
    with evaluating(model):
        parameter = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
        return model(token_ids if parameter is None else token_ids.to(parameter.device)).float().cpu()


def _note(lengths: list[int]) -> str:
    if lengths[0] == lengths[1]:
        return f"Both sentences have {lengths[0]} target{'s' * (lengths[0] > 1)}: every target counts once."
    return (
        f"The sentences have {lengths[0]} and {lengths[1]} targets. The shorter one is padded, its padding has the "
        f"target {IGNORED_TARGET} and is not scored: each of the {sum(lengths)} real targets counts once."
    )


def _outcome(numbers: dict) -> str:
    texts = " and ".join(f"“{sentence['text']}”" for sentence in numbers["sentences"])
    loss = f"loss {-numbers['mean']:.2f} nats over {numbers['n']} targets"
    return f"{texts}: {loss}, perplexity {numbers['perplexity']:,.0f}."


def _significant(x: float, digits: int = 4) -> float:
    return float(f"{x:.{digits}g}")


def _signed(x: float, digits: int = 2) -> str:
    return f"{x:,.{digits}f}".replace("-", "−")


def _prob(p: float) -> str:
    return f"{p:.3f}" if p >= 0.01 else f"{p:.1e}"


def _json(numbers: dict) -> str:
    return json.dumps(numbers, ensure_ascii=False, separators=(",", ":"))


def _box(name: str, value: str) -> ipywidgets.Text:
    layout = ipywidgets.Layout(width="calc(100% - 6px)")
    return ipywidgets.Text(
        value=value, description=name, continuous_update=False, layout=layout, style={"description_width": "150px"}
    )


def _template() -> str:
    tabs = "".join(button(f"{k} {name}", f"step{k}", set_to={"step": k}) for k, name in enumerate(STEPS, 1))
    columns = (
        ("a", "", "input"), ("b", "", "target"), ("c", "c1 c2 c12", ""), ("d", "c1", "target’s logit"),
        ("e", "c3 c36", "p(target)"), ("f", "c3 c36", "its rank"), ("g", "c4 c36", "ln p(target)"),
    )  # fmt: skip
    head = "".join(_cell("th", css, "top_head" if c == "c" else "", name) for c, css, name in columns)
    bodies = ""
    for s in (0, 1):
        bodies += f'<tr class="cw-said"><th colspan="{len(columns)}" data-key="s{s}"></th></tr>'
        for i in range(MAX_TARGETS):
            cells = "".join(_cell("td", css, f"r{s}{i}{c}") for c, css, _ in columns)
            bodies += f'<tr data-key="r{s}{i}">{cells}</tr>'
    return (
        f'<p class="cw-error" role="alert" data-key="error"></p><div class="cw-steps">{tabs}</div>'
        '<div class="cw-slide"><label for="%CARD%-step">step</label><input type="range" id="%CARD%-step" '
        'data-in="step" data-key="step_in" min="1" max="6" value="1" autocomplete="off"></div>'
        f'<div class="cw-move">{button("‹ Back", add={"step": -1})}{button("Next ›", add={"step": 1})}'
        '<p class="cw-result" data-key="result"></p></div>'
        f'<table class="cw-numbers" data-key="table"><thead><tr>{head}</tr></thead><tbody>{bodies}</tbody></table>'
        '<p class="cw-note" data-key="note"></p>'
    )


def _cell(tag: str, css: str, key: str, content: str = "") -> str:
    style = f' class="{css}"' if css else ""
    name = f' data-key="{key}"' if key else ""
    return f"<{tag}{style}{name}>{content}</{tag}>"

"""A card speaks the chosen language wherever it says anything: no English word is left in what its script writes."""

import html
import json
import random
import re

import pytest
from py_mini_racer import MiniRacer

from helpers import language
from helpers.classroom import cards
from tests.cards import CARDS, first_positions
from tools.translate import messages
from tools.translate.pseudo import UNMARKED, marked

NAMES = re.compile(  # that no language changes
    r"GPU|[KMGT]iB|kWh|nats|exp|cross|entropy|AdamW|SGD|sgd|adamw|b?float|gpt|opt|course|small|top|min|Colab|Raschka|GPT"
    r"|NVIDIA|Intel|AMD|Xeon|EPYC|Processor|captain|Hoffmann|Besiroglu"
)


N_POSITIONS = 40  # with every control at one of its ends


@pytest.fixture
def marking(tmp_path, monkeypatch):
    """A language in which every word of every message has a mark behind it."""
    said = {message: marked(message) for message in messages.messages()}
    (tmp_path / "marks.json").write_text(json.dumps(said), encoding="utf-8")
    monkeypatch.setattr(language, "LOCALE", tmp_path)
    language.choose("marks")


def page(card: cards.Card) -> MiniRacer:
    """The scripts as the card carries them, without the call that looks for a document."""
    script = re.search(r'<script>\(\(\) => \{\n"use strict";\n(.*)start\(', card.markup("x-1"), re.S)[1]
    v8 = MiniRacer()
    v8.eval(script)
    return v8


def ends_of_inputs(body: str) -> dict[str, tuple[float, float]]:
    """The lowest and the highest position of each control."""
    found = {}
    for tag in re.findall(r"<input [^>]*>", body):
        said = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        found[said["data-in"]] = float(said.get("min", 0)), float(said.get("max", 1))
    return found


def left_in(text: str) -> list[str]:
    quoted = re.sub(r"“[^”]*”|'[^']*'", " ", html.unescape(text))
    return [word for word in UNMARKED.findall(quoted) if not NAMES.fullmatch(word)]


@pytest.mark.parametrize("kind", CARDS)
def test_no_english_is_left_on_a_card(kind, marking):
    card = CARDS[kind]()
    v8, config = page(card), html.unescape(re.search(r'data-config="([^"]*)"', card.markup("x-1"))[1])
    body = v8.eval(f"view('x-1', {json.dumps(card.values)}, {config})")
    shown = re.split(r"<[^>]*>", body) + re.findall(r'(?:aria-label|title)="([^"]*)"', body)
    first = first_positions(card)
    draw = random.Random(0)
    ends = [first | {name: draw.choice(two) for name, two in ends_of_inputs(body).items()} for _ in range(N_POSITIONS)]
    states = v8.eval(f"JSON.stringify({json.dumps([first, *ends])}.map((at) => compute(at, {config})))")
    for state in json.loads(states):
        heard = ((text, key.partition("@")[2]) for key, text in state.items())
        shown += [text for text, attribute in heard if text and attribute in ("", "aria-label", "aria-valuetext")]
    said = {text: v8.eval(f"spoken({json.dumps(text)})") for text in map(html.unescape, shown)}
    said.pop(card.config.get("prompt"), None)  # the reader's own
    assert {text: words for text in said if (words := left_in(said[text]))} == {}
    still = re.sub(r"<(style|script)>.*?</\1>|data-\w+=\"[^\"]*\"", " ", card.markup("x-1"), flags=re.S)
    assert left_in(re.sub(r"<[^>]*>", " ", still)) == []

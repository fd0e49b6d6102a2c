"""The language in which `helpers` speaks to the reader: English stands in the code, others in assets/locale.

Only what a notebook shows is translated. What a command prints, a log holds or an exception says stays English:
notebooks read logs, people search the web for errors, and a subprocess does not inherit the language.

`t` says a message that is marked in the code. `spoken` says a finished sentence, found by its template: so the checks
and cards, which put sentences together from many, mark nothing and read like a book.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

LOCALE = Path(__file__).parent / "assets" / "locale"
ENGLISH = "en"
PLACEHOLDER = re.compile(r"(\{[^{}]*\})")
# In Portuguese a number from two on has "milhões", and "de" stands before what is counted; English has neither word.
AGREEMENT = (
    (re.compile(r"(^|[^\d.,])(?!1(?:\.\d+)? )(\d[\d.,]* (?:m|b|tr)ilh)ão\b"), r"\1\2ões"),
    (re.compile(r"(\d (?:m|b|tr)ilh(?:ão|ões)) (?=tokens|parâmetros)"), r"\1 de "),
)
MAX_SPOKEN = 2000
WORD = re.compile(r"\w")
QUOTES = "'\"“‘"  # what begins so is a reader's or a model's own text
_chosen = [ENGLISH]
_messages: dict[str, str] = {}
_templates: list[tuple[str, list[str]]] = []  # a message, and what stands around its placeholders; longest first


def choose(language: str) -> None:
    """Speak `language` from now on: "en", or one with a catalogue in assets/locale. A notebook's first cell does so.

    ValueError: a language that the course does not have.
    """
    files = {ENGLISH: None, **{path.stem: path for path in sorted(LOCALE.glob("[!.]*.json"))}}
    if language not in files:
        raise ValueError(f"no language {language!r}; there are {', '.join(files)}")
    file = files[language]
    _chosen[:] = [language]
    _messages.clear()
    said = json.loads(file.read_text(encoding="utf-8")) if file else {}
    _messages.update(said)
    _messages.update((bare, said[message].lstrip()) for message in said if (bare := message.lstrip())[:1].isalpha())
    searched = (message for message in _messages if not (message[:1] == " " and message.lstrip() in _messages))
    longest_first = sorted(searched, key=lambda message: len(PLACEHOLDER.sub("", message)), reverse=True)
    _templates[:] = [(message, PLACEHOLDER.split(message)[::2]) for message in longest_first]


def chosen() -> str:
    """The language that is spoken now."""
    return _chosen[0]


def t(message: str, **values: object) -> str:
    """`message` in the chosen language, its placeholders filled: t("{n:,} tokens", n=1000)."""
    said = _messages.get(message, message)
    return _agreeing(said.format(**values)) if values else said


def spoken(sentence: str) -> str:
    """A finished English sentence in the chosen language, what stood in its placeholders too; unknown ones as they are.

    "case 2: expected 3, got 4" is found by "{case}: expected {wanted}, got {came}". Where only the beginning is known
    it is said, and then the rest. What stands in quotes is left alone, as is a placeholder's in “{prompt}”,
    and what comes after the first MAX_SPOKEN characters. classroom/cards/runtime.js has the same rule.
    """
    if len(sentence) > MAX_SPOKEN:
        return spoken(sentence[:MAX_SPOKEN]) + sentence[MAX_SPOKEN:]
    at = next((i for i, character in enumerate(sentence) if character.isalpha() or character in QUOTES), len(sentence))
    begin, rest = sentence[:at], sentence[at:]  # numbers and signs, and words
    for message, around in _templates if rest else ():
        for before, text in ("", sentence), (begin, rest):
            if (values := _between(around, text)) is not None:
                return _agreeing(before + _filled(message, values))
        if "{" not in message and rest[:1].isalpha() and rest.startswith(message):
            after = rest[len(message) :]
            if not WORD.match(after):
                return _agreeing(begin + _messages[message] + spoken(after))
    return sentence


def agreement() -> list[tuple[str, str]]:
    """What `_agreeing` does, as a page's script understands it; nothing in English."""
    return [(pattern.pattern, right.replace("\\", "$")) for pattern, right in AGREEMENT if chosen() != ENGLISH]


def _agreeing(text: str) -> str:
    """A text whose large numbers agree with their words: "2 milhão tokens" becomes "2 milhões de tokens"."""
    for pattern, right in AGREEMENT:
        text = pattern.sub(right, text)
    return text


def _filled(message: str, values: Sequence[str]) -> str:
    said = _messages[message]
    for name, value in zip(PLACEHOLDER.findall(message), values, strict=True):
        said = said.replace(name, value if f"“{name}”" in message else spoken(value))
    return said


def _between(around: list[str], text: str) -> list[str] | None:
    """What stands in a text between these parts, each value as short as can be; None: they are not its parts.

    A regular expression would try every way, and take minutes for a thousand characters.
    """
    if len(around) == 1:
        return [] if text == around[0] else None
    first, *others, last = around
    at, end, values = len(first), len(text) - len(last), []
    if at > end or not text.startswith(first) or not text.endswith(last):
        return None
    for part in others:
        if (found := text.find(part, at, end)) < 0:
            return None
        values.append(text[at:found])
        at = found + len(part)
    return [*values, text[at:end]]


def said_in(script: str) -> list[tuple[str, str]]:
    """(message, translation) of all whose words occur in a script, longest first: what a page needs to speak itself."""
    script = re.sub(r"[\"'`]\s*\+\s*[\"'`]", "", script)  # a sentence over two lines is one
    return [(message, _messages[message]) for message, around in _templates if all(part in script for part in around)]

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
QUOTES = "'\"“‘"  # what begins so is a reader's or a model's own text
_chosen = [ENGLISH]
_messages: dict[str, str] = {}
_templates: list[tuple[re.Pattern[str], str]] = []  # an English sentence's looks, and its message; longest first


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
    _templates[:] = [(_pattern(message), message) for message in longest_first]


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
    it is said, and then the rest. What stands in quotes is left alone, as is a placeholder's in “{prompt}”.
    classroom/cards/runtime.js has the same rule.
    """
    at = next((i for i, character in enumerate(sentence) if character.isalpha() or character in QUOTES), len(sentence))
    begin, rest = sentence[:at], sentence[at:]  # numbers and signs, and words
    for pattern, message in _templates if rest else ():
        for before, text in ("", sentence), (begin, rest):
            if found := pattern.fullmatch(text):
                return _agreeing(before + _filled(message, found.groups()))
        if "{" not in message and rest[:1].isalpha() and (found := pattern.match(rest)):
            return _agreeing(begin + _messages[message] + spoken(rest[found.end() :]))
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


def _pattern(message: str) -> re.Pattern[str]:
    parts = ("(.*?)" if part.startswith("{") else re.escape(part) for part in PLACEHOLDER.split(message))
    return re.compile("".join(parts) + r"(?!\w)", re.DOTALL)


def said_in(script: str) -> list[tuple[str, str]]:
    """(message, translation) of all whose words occur in a script, longest first: what a page needs to speak itself."""
    script = re.sub(r"[\"'`]\s*\+\s*[\"'`]", "", script)  # a sentence over two lines is one
    return [
        (message, _messages[message])
        for _, message in _templates
        if all(part in script for part in PLACEHOLDER.split(message)[::2])
    ]

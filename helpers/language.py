"""The language in which `helpers` speaks to the reader: English stands in the code, others in assets/locale.

Only what a notebook shows is translated. What a command prints, a log holds or an exception says stays English: notebooks
read logs, people search the web for errors, and a subprocess does not inherit the language.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

LOCALE = Path(__file__).parent / "assets" / "locale"
ENGLISH = "en"
_messages: dict[str, str] = {}


def choose(language: str) -> None:
    """Speak `language` from now on: "en", or one with a catalogue in assets/locale. Notebooks do so in their first cell.

    ValueError: a language that the course does not have.
    """
    files = {ENGLISH: None, **{path.stem: path for path in sorted(LOCALE.glob("*.json"))}}
    if language not in files:
        raise ValueError(f"no language {language!r}; there are {', '.join(files)}")
    file = files[language]
    _messages.clear()
    _messages.update(json.loads(file.read_text(encoding="utf-8")) if file else {})


def t(message: str, **values: object) -> str:
    """`message` in the chosen language, its placeholders filled: t("{n:,} tokens", n=1000)."""
    said = _messages.get(message, message)
    return said.format(**values) if values else said


def labels(script: str) -> dict[str, str]:
    """What of a script's t("…") is said otherwise in the chosen language."""
    quoted = re.findall(r'\bt\(\s*("(?:[^"\\]|\\.)*")', script)
    return {m: _messages[m] for m in map(json.loads, quoted) if m in _messages}

"""What `helpers` says to a reader: the texts of t("…") in its Python and its scripts, and their stored translations."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

HELPERS = Path(__file__).resolve().parents[2] / "helpers"
FILE = HELPERS / "assets" / "locale" / "pt_BR.json"
IN_SCRIPT = re.compile(r'\bt\(\s*("(?:[^"\\]|\\.)*")')


def messages() -> list[str]:
    """Every message once, in the order of the files."""
    found = [text for file in sorted(HELPERS.rglob("*.py")) for text in _in_python(file.read_text(encoding="utf-8"))]
    scripts = [file.read_text(encoding="utf-8") for file in sorted(HELPERS.rglob("*.js"))]
    found += [json.loads(quoted) for script in scripts for quoted in IN_SCRIPT.findall(script)]
    return list(dict.fromkeys(found))


def table(say: Callable[[None, str], str]) -> dict[str, str]:
    """English -> translation, of all that is translated and differs."""
    return {text: say(None, text) for text in messages() if say(None, text) != text}


def stored() -> dict[str, str]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def store(say: Callable[[None, str], str]) -> None:
    """Write what `helpers` reads when it speaks that language."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(table(say), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _in_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t":
            message = node.args[0]
            if isinstance(message, ast.Constant):
                yield message.value

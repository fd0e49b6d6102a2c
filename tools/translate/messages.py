"""What `helpers`, pages and grading say to a reader: what is marked with t("…"), sentences of checks and cards."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator

from helpers.language import LOCALE, PLACEHOLDER
from tools.notebooks import ROOT
from tools.translate.literals import WORDS, strings, template
from tools.translate.scripts import sentences

HELPERS = ROOT / "helpers"
SPEAKING = ("tools/site", "tools/slides", "tools/grade")  # of tools, those that readers see
FILE = LOCALE / "pt_BR.json"
# what these show goes through `spoken`: nothing is marked there
SPOKEN = ("helpers/classroom/exercises", "helpers/classroom/cards")
# constants that are said by t(variable)
NAMES = {"COLUMNS", "DIFFERS", "FIRST", "MEANS", "NAMED", "NOT_STATED", "PADDINGS", "SAME", "_NAMES"}
SILENT = re.compile(r"\w*Error:|register:|getattr:|hasattr:|Subscript.slice|Card:kind|Card:attributes|arguments|encod")
CODE = re.compile(r"<|^\S*[_=/.]\w\S*$|^\w+-\w+$|^[\w-]+:\S|^\w+\(\S*$|SAID|data-feed")  # markup, names, files


def messages() -> list[str]:
    """Every message once, in the order of the files."""
    found: list[str] = []
    for file in sorted(path for folder in ("helpers", *SPEAKING) for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [*_marked(tree), *_named(tree)]
        if file.parent.relative_to(ROOT).as_posix() in SPOKEN and file.name != "__init__.py":
            found += _sentences(tree)
    for file in sorted(HELPERS.rglob("*.js")):
        found += sentences(file.read_text(encoding="utf-8"))
    headings = json.loads((HELPERS / "assets" / "weekly_report.json").read_text(encoding="utf-8"))
    return list(dict.fromkeys(found + [heading["asks"] for heading in headings]))


def table(say: Callable[[None, str], str]) -> dict[str, str]:
    """English -> translation, of all that is translated and differs."""
    return {text: say(None, text) for text in messages() if say(None, text) != text}


def stored() -> dict[str, str]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def store(say: Callable[[None, str], str]) -> None:
    """Write what `helpers` reads when it speaks that language."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(table(say), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _marked(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "t" and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value


def _named(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in NAMES:
            values = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
            for inner in (inner for value in values for inner in ast.walk(value)):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner.value


def _sentences(tree: ast.Module) -> Iterator[str]:
    """Strings and f-strings with words, without docstrings, what an exception says, keys and names."""
    for node, chain in strings(tree, ()):
        if chain[0] == "Expr.value" or chain[:2] == ("List.elts", "Assign.value") or any(map(SILENT.match, chain)):
            continue
        text = node.value if isinstance(node, ast.Constant) else template(node)
        fixed = PLACEHOLDER.sub(" ", text)
        if WORDS.search(fixed) and not CODE.search(fixed) and (" " in fixed.strip() or chain[0] != "Dict.keys"):
            yield text

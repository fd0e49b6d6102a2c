"""Markdown as entries: a line is one (a paragraph, an item, a table's row, a heading), a fenced program is one."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator

from tools.translate.literals import WORDS, without_magics

FENCE = "```"
PIECE = re.compile(r"^```.*?^```[^\n]*$|^[^\n]*$", re.MULTILINE | re.DOTALL)
MATH = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.S)
CODE = re.compile(r"(?<!`)`[^`]+`(?!`)")
QUOTED = re.compile(r'"([^"]+)"')
LINK = re.compile(r"\]\(([^)]*)\)")
TAG = re.compile(r"</?[a-z]+[^>]*>|<!--.*?-->")
IN_WORDS = re.compile(r"\\text(?:bf|it)?\{([^}]*)\}")  # of a formula; what else it holds is not language
ALT = re.compile(r'\balt="([^"]*)"')


def entries(source: str) -> list[str]:
    """What of a Markdown text has words, in order."""
    return list(filter(has_words, pieces(source)))


def translated(source: str, say: Callable[[str], str]) -> str:
    """The text with each entry said by `say`."""
    return "\n".join(say(piece) if has_words(piece) else piece for piece in pieces(source))


def pieces(source: str) -> list[str]:
    """The lines of a text; a fenced program is one piece, its fences included."""
    found = PIECE.findall(source)
    if unclosed := [piece for piece in found if piece.startswith(FENCE) and "\n" not in piece]:
        raise ValueError(f"a fence is not closed: {unclosed[-1]}")
    return found


def has_words(piece: str) -> bool:
    """Whether anything in it is language: of a program its comments and docstrings."""
    if piece.startswith(FENCE):
        return bool(WORDS.search(" ".join(_said_in(piece))))
    shown = " ".join([*IN_WORDS.findall(piece), *ALT.findall(piece), TAG.sub(" ", CODE.sub(" ", MATH.sub(" ", piece)))])
    return bool(WORDS.search(LINK.sub("]", shown)))


def faults(english: str, other: str, words: dict[str, str]) -> Iterator[str]:
    """What of an entry must be the same in both languages, and is not.

    words  the program's words and their translations: `"below"` in a question is what the program compares with
    """
    english = CODE.sub(lambda code: QUOTED.sub(lambda q: f'"{words.get(q[1], q[1])}"', code[0]), english)
    if english.startswith(FENCE):
        if _bare_program(english) != _bare_program(other):
            yield "the program differs: only comments and docstrings are translated"
        return
    if "\n" in other:
        yield "a line has become several"
    for what, parts in PARTS.items():
        here, there = parts(english), parts(other)
        if here != there:
            lost, new = here - there, there - here
            yield f"{what}: missing {list(lost)}, not in the English {list(new)}"


PARTS: dict[str, Callable[[str], Counter]] = {
    "formulas": lambda text: Counter(IN_WORDS.sub("", formula) for formula in MATH.findall(text)),
    "inline code": lambda text: Counter(CODE.findall(MATH.sub("", text))),
    "links": lambda text: Counter(LINK.findall(text)),
    "tags": lambda text: Counter(ALT.sub("alt", tag) for tag in TAG.findall(MATH.sub("", CODE.sub("", text)))),
    "cells of the row": lambda text: Counter("|" * MATH.sub("", text).count("|") if text.startswith("|") else ""),
    "beginning of the line": lambda text: Counter(re.findall(r"^(?:#+ |- |\d+\. |> |\| | {4})", text)),
}


def _said_in(fenced: str) -> list[str]:
    program = _program(fenced)
    docs = [ast.get_docstring(n) or "" for n in ast.walk(ast.parse(program)) if isinstance(n, ast.FunctionDef)]
    return docs + re.findall(r"#.*", program)


def _bare_program(fenced: str) -> str:
    tree = ast.parse(_program(fenced))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return fenced.split("\n")[0] + ast.dump(tree)


def _program(fenced: str) -> str:
    first, *lines, _ = fenced.split("\n")
    return without_magics("\n".join(lines)) if first == "```python" else ""

"""What people read in a code cell: strings, f-strings, docstrings and comments, each with its place in the source."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

WORDS = re.compile(r"[^\W\d_]{2,}")
MARKS = re.compile(r"#\s*(fmt:|noqa|type:|ruff:)")  # comments that speak to tools
# Where only people read: a callee and its parameter, by position or by name. A string that stands elsewhere may be a
# key or a compared word, so it is one entry for the whole notebook: replaced everywhere, or nowhere.
READ = {
    "print": "0 1 2 3 4 5 6 7 8",
    "reveal": "2 unit",
    "show": "1 alt",
    "set": "title xlabel ylabel",
    "table": "0 1 rows columns caption",
    "text_heatmap": "label unit",
    "token_grid": "title xlabel ylabel shade",
    "reference_line": "2 label",
    "new_axes": "1 2 3 title xlabel ylabel",
    "annotate": "0",
    "text": "2",
    "suptitle": "0",
    "set_title": "0",
    "set_xlabel": "0",
    "set_ylabel": "0",
    "legend": "title",
    **dict.fromkeys(("plot", "axvline", "axhline", "bar", "errorbar", "scatter", "step"), "label"),
    **dict.fromkeys(("lines", "bars", "scores_in_the_plane", "labelled_cloud", "reliability"), "title xlabel ylabel"),
    **dict.fromkeys(("loss_figure", "figure"), "1 title"),
}
READ_PLACES = {f"{callee}:{parameter}" for callee, names in READ.items() for parameter in names.split()}
THROUGH = {"IfExp.body", "IfExp.orelse", "BinOp.left", "BinOp.right", "List.elts", "Tuple.elts", "Starred.value"}
THROUGH |= {"ListComp.elt", "GeneratorExp.elt"}
# ... and where only the program does
CODE = {
    "loc",
    "ha",
    "va",
    "xycoords",
    "textcoords",
    "color",
    "edgecolor",
    "linestyle",
    "fmt",
    "layout",
    "xscale",
    "yscale",
}
CODE |= {"preset", "check", "device", "encoding", "Path", "open", "listing", "rmtree", "load_file", "save_file"}
CODE |= {"safe_open", "set_xscale", "set_yscale", "hasattr"}
BRACKETS = {"List.elts", "Dict.keys", "Dict.values", "Set.elts"}
ENGLISH = ("Raise.", "Assert.msg")  # what an exception says is searched for on the web


@dataclass(frozen=True)
class Literal:
    """A text in a cell's source: `text` is what a catalogue shows of it, source[start:end] what stands there.

    kind   "text" where only people read, "word" where the program may read too, "f-string", "docstring", "comment"
    fixed  what of it is language: of an f-string not the placeholders' code
    bracketed  whether it stands in brackets, where a long string may be cut
    """

    kind: str
    text: str
    start: int
    end: int
    fixed: str
    bracketed: bool = False

    @property
    def has_words(self) -> bool:
        return bool(WORDS.search(self.fixed))


def literals(source: str) -> list[Literal]:
    """Every string, docstring and comment of a cell in the order of the source, without what stays English."""
    source = without_magics(source)
    position = _positions(source)
    found = [_comment(token, position) for token in tokenize.generate_tokens(io.StringIO(source).readline)
             if token.type == tokenize.COMMENT and not MARKS.match(token.string)]  # fmt: skip
    tree = ast.parse(source)
    docstrings = {id(node) for node in _docstrings(tree)}
    for node, chain in strings(tree, ()):
        reader = next((place for place in chain if place not in THROUGH), "")
        of_the_program = reader not in READ_PLACES and CODE & {*reader.split(":"), getattr(node, "value", None)}
        if of_the_program or any(place.startswith(ENGLISH) for place in chain):
            continue
        start = position(node.lineno, len(_line(source, node.lineno)[: node.col_offset].decode()))
        end = position(node.end_lineno, len(_line(source, node.end_lineno)[: node.end_col_offset].decode()))
        bracketed = any(":" in place or place in BRACKETS for place in chain)
        if isinstance(node, ast.JoinedStr):
            found.append(Literal("f-string", template(node), start, end, _fixed(node), bracketed))
        else:
            kind = "docstring" if id(node) in docstrings else "text" if reader in READ_PLACES else "word"
            found.append(Literal(kind, node.value, start, end, node.value, bracketed))
    return sorted(found, key=lambda literal: literal.start)


def without_magics(source: str) -> str:
    """The source as Python reads it: IPython's `%` lines are comments of the same length."""
    return re.sub(r"^[%!]", "#", source, flags=re.M)


def template(node: ast.JoinedStr) -> str:
    """An f-string as a catalogue shows it: `{x:.3f} nats`, braces of the fixed part doubled."""
    parts = (p.value.replace("{", "{{").replace("}", "}}") if isinstance(p, ast.Constant) else _placeholder(p)
             for p in node.values)  # fmt: skip
    return "".join(parts)


def _placeholder(part: ast.FormattedValue) -> str:
    body = ast.unparse(part.value)
    conversion = "" if part.conversion == -1 else "!" + chr(part.conversion)
    spec = f":{template(part.format_spec)}" if part.format_spec else ""
    return "{" + " " * body.startswith("{") + body + conversion + spec + "}"


def _fixed(node: ast.AST) -> str:
    """The fixed text of an f-string and the strings inside its placeholders, without formats and keys."""
    out = []
    for field, value in ast.iter_fields(node):
        if field == "format_spec" or (isinstance(node, ast.Subscript) and field == "slice"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                out.append(child.value)
            elif isinstance(child, ast.AST):
                out.append(_fixed(child))
    return " ".join(out)


def strings(node: ast.AST, chain: tuple[str, ...]) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    """Every string and f-string below `node`, with where it stands, from the inside out."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node, chain
        return
    for field, value in ast.iter_fields(node):
        for place, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST):
                continue
            if isinstance(node, ast.Call) and field != "func":
                callee = ast.unparse(node.func).split("(")[0].split(".")[-1]
                parameter = child.arg if isinstance(child, ast.keyword) else place
                inside = child.value if isinstance(child, ast.keyword) else child
                yield from strings(inside, (f"{callee}:{parameter}", *chain))
            else:
                name = field
                if isinstance(node, ast.Dict) and field == "values" and isinstance(node.keys[place], ast.Constant):
                    name = f"{field}:{node.keys[place].value}"
                yield from strings(child, (f"{type(node).__name__}.{name}", *chain))


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            yield node.body[0].value


def _comment(token: tokenize.TokenInfo, position) -> Literal:
    text = "" if token.string.startswith(("#xmode", "#matplotlib")) else token.string
    return Literal("comment", text, position(*token.start), position(*token.end), text)


def _line(source: str, number: int) -> bytes:
    return source.splitlines(keepends=True)[number - 1].encode()


def _positions(source: str):
    """(line from 1, column in characters) -> offset in the source."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return lambda line, column: starts[line - 1] + column

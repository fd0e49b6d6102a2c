"""What people read in a code cell: strings, f-strings, docstrings and comments, each with its place in the source.

`literals` finds them, `literal_source` writes one anew.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple

WORDS = re.compile(r"[^\W\d_]{2,}")
MARKS = re.compile(r"#\s*(fmt:|noqa|type:|ruff:)|#(xmode|matplotlib)")  # comments that speak to tools
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
    "text": "2",
    "legend": "title",
    **dict.fromkeys(("annotate", "suptitle", "set_title", "set_xlabel", "set_ylabel"), "0"),
    **dict.fromkeys(("plot", "axvline", "axhline", "bar", "errorbar", "scatter", "step"), "label"),
    **dict.fromkeys(("lines", "bars", "scores_in_the_plane", "labelled_cloud", "reliability"), "title xlabel ylabel"),
    **dict.fromkeys(("loss_figure", "figure"), "1 title"),
}
READ_PLACES = {f"{callee}:{parameter}" for callee, names in READ.items() for parameter in names.split()}
THROUGH = {"IfExp.body", "IfExp.orelse", "BinOp.left", "BinOp.right", "List.elts", "Tuple.elts", "Starred.value"}
THROUGH |= {"ListComp.elt", "GeneratorExp.elt"}
# ... and where only the program does
CODE = {"loc", "ha", "va", "xycoords", "textcoords", "color", "edgecolor", "linestyle", "fmt", "layout", "xscale"}
CODE |= {"preset", "check", "device", "encoding", "Path", "open", "listing", "rmtree", "load_file", "save_file"}
CODE |= {"safe_open", "set_xscale", "set_yscale", "hasattr", "yscale"}
BRACKETS = {"List.elts", "Dict.keys", "Dict.values", "Set.elts"}
QUOTES = ('"', "'", '"""', "'''")
WIDTH, PIECE = 110, 90  # where it stands in brackets a longer string is cut between words, into such pieces
ENGLISH = ("Raise.", "Assert.msg")  # what an exception says is searched for on the web


class Literal(NamedTuple):
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
    lines = source.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]

    def offset(line: int, n_bytes: int) -> int:  # as ast counts
        return starts[line - 1] + len(lines[line - 1].encode()[:n_bytes].decode())

    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not MARKS.match(token.string):
            start = starts[token.start[0] - 1] + token.start[1]
            found.append(Literal("comment", token.string, start, start + len(token.string), token.string))
    tree = ast.parse(source)
    documented = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))
    docstrings = {id(node.body[0].value) for node in documented if ast.get_docstring(node) is not None}
    for node, chain in strings(tree, ()):
        reader = next((place for place in chain if place not in THROUGH), "")
        of_the_program = reader not in READ_PLACES and CODE & {*reader.split(":"), getattr(node, "value", None)}
        if of_the_program or any(place.startswith(ENGLISH) for place in chain):
            continue
        start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
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


def literal_source(text: str, literal: Literal, source: str) -> str:
    """What stands in the source in place of `literal` so that it says `text`."""
    if literal.kind == "comment":
        return text
    if literal.kind == "docstring":
        return '"""' + text.replace("\\", "\\\\") + '"""'
    prefix = "f" if literal.kind == "f-string" else ""
    column = literal.start - (source.rfind("\n", 0, literal.start) + 1)
    nested = re.search(r"\{[^{}]*\{", text.replace("{{", ""))
    if not literal.bracketed or nested or column + len(text) <= WIDTH:
        return in_quotes(text, prefix)
    pieces = [""]
    for word in re.findall(r"(?:\{\{|\}\}|\{[^{}]*\}|[^\s{}])+\s*|\s+", text):
        if len(pieces[-1]) + len(word) > PIECE and pieces[-1]:
            pieces.append("")
        pieces[-1] += word
    return "\n".join(in_quotes(piece, prefix if prefix and re.search("[{}]", piece) else "") for piece in pieces)


def in_quotes(text: str, prefix: str = "") -> str:
    """A string literal, or with the prefix "f" an f-string, whose placeholders' own quotes decide which are left.

    ValueError: an f-string in which all kinds of quotes occur.
    """
    body = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    for quote in QUOTES:
        if quote not in body and not body.endswith(quote[0]):
            return prefix + quote + body + quote
    if prefix:
        raise ValueError(f"all kinds of quotes occur in {text!r}: leave one out")
    return '"' + body.replace('"', '\\"') + '"'


def with_words(text: str, say: Callable[[str], str]) -> str:
    """An f-string's text in which strings inside placeholders, keys most of all, are said by `say`."""
    tree = ast.parse(in_quotes(text, "f"), mode="eval").body
    changed = False
    for part in tree.values if isinstance(tree, ast.JoinedStr) else []:
        for node in ast.walk(part.value) if isinstance(part, ast.FormattedValue) else []:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and say(node.value) != node.value:
                node.value, changed = say(node.value), True
    return template(tree) if changed else text

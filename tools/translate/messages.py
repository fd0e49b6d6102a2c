"""What `helpers`, pages and grading say: what code, templates, decks mark with t("…"), checks' and cards' sentences."""

import ast
import json
import re
from collections.abc import Callable, Iterator

from helpers.language import LOCALE, PLACEHOLDER
from tools.notebooks import ROOT, write_whole
from tools.translate.literals import WORDS, strings, template

HELPERS = ROOT / "helpers"
MARKED = re.compile(r'\bt\("([^"]*)"')  # a message in a template or a script, as t("…") is one in the code
SPEAKING = ("tools/site", "tools/slides", "tools/grade")  # of tools, those that readers see
FILE = LOCALE / "pt_BR.json"
# what these show goes through `spoken`: nothing is marked there
SPOKEN = ("helpers/classroom/exercises", "helpers/classroom/cards")
# constants that are said by t(variable)
NAMES = re.compile("COLUMNS|DIFFERS|FIRST|MEANS|NAMED|NOT_STATED|PADDINGS|SAME|SAVINGS|THEME_SAYS|_NAMES")
SILENT = re.compile(r"\w*Error:|register:|getattr:|hasattr:|Subscript.slice|Card:kind|Card:attributes|arguments|encod")
CODE = re.compile(r"<|^\S*[_=/.]\w\S*$|^\w+-\w+$|^[\w-]+:\S|^\w+\(\S*$|SAID|data-feed")  # markup, names, files
# of scripts: what names an expression, texts that are no words of a reader's, and where a text begins and ends
EXPRESSION = re.compile(r"(?:fixed|readable\w+|amount|percent|money|number)?\(?\s*([a-zA-Z_]\w*)[^a-zA-Z]*$")
SCRIPT_CODE = re.compile(
    r"[#@<>]|\w=[\w\"{]|^\W*$|^(?:cw|bc|mc|tr|gr|aria|data|tex2jax|text)-|^[a-z]+\d|^[.\[]|^\w+[A-Z]\w*$|^[\w-]+:\S"
    r"|(?:translate|rotate|var)\(|, \[|^\w+_\w+$| data-"
    r"|^(?:true|false|hidden|summary|click|button|keydown|string|input|middle)$"
)
KEY = re.compile(r"^\w*\{\w+\}$|\}_|^\{\w+\}\w+$")  # such as size{i}, {name}_text
QUOTES = "\"'`"
JOINED = re.compile(r"\s*\+\s*(?=[\"'`])")
REGEX = re.compile(r"(?:[^\\/\n\[]|\\.|\[(?:[^\]\\]|\\.)*\])*/\w*")
COMMENT = re.compile(r"^\s*//.*\n|\s+//\s.*$", re.MULTILINE)


def messages() -> list[str]:
    """Every message once, in the order of the files."""
    found: list[str] = []
    for file in sorted(path for folder in ("helpers", *SPEAKING) for path in (ROOT / folder).rglob("[!.]*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [*_marked(tree), *_named(tree)]
        if file.parent.relative_to(ROOT).as_posix() in SPOKEN and file.name != "__init__.py":
            found += _sentences(tree)
    for file in sorted(HELPERS.rglob("[!.]*.js")):
        found += sentences(file.read_text(encoding="utf-8"))
    for file in sorted(path for kind in ("[!.]*.html", "[!.]*.md", "deck.js") for path in (ROOT / "tools").rglob(kind)):
        found += MARKED.findall(file.read_text(encoding="utf-8"))
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
    write_whole(FILE, json.dumps(table(say), ensure_ascii=False, indent=1) + "\n")


def _marked(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "t" and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value


def _named(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and NAMES.fullmatch(ast.unparse(node.targets[0])):
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


def sentences(script: str) -> Iterator[str]:
    """What a reader may see, with `{name}` for what the script puts in."""
    for text in _literals(COMMENT.sub("", script)):
        pieces = [text]
        if "<" in text:
            pieces = re.findall(r'aria-label="([^"]*)"', text) + re.split(r"<[^>]*>", text.replace("&nbsp;", " "))
            pieces = [piece.strip() for piece in pieces]
        for piece in pieces:
            fixed = re.sub(r"\{[^{}]*\}", " ", piece).strip()
            if WORDS.search(fixed) and not SCRIPT_CODE.search(piece) and not KEY.search(piece):
                yield piece


def _literals(script: str) -> Iterator[str]:
    """Each string and template of a script, those that a + joins as one; inner ones after the one that holds them."""
    i = 0
    while i < len(script):
        if script[i] in QUOTES:
            text, inner, i = _literal(script, i, 0)
            while more := JOINED.match(script, i):
                further, expressions, i = _literal(script, more.end(), len(inner))
                text, inner = text + further, inner + expressions
            yield text
            for expression in inner:
                yield from _literals(expression)
        elif script[i] == "/" and re.search(r"[(,=:!&|?{};]\s*$", script[max(0, i - 20) : i]):  # a regular expression
            i = REGEX.match(script, i + 1).end()
        else:
            i += 1


def _literal(script: str, i: int, n_before: int) -> tuple[str, list[str], int]:
    """Of what begins at i: its text with names for its expressions, these, and where it ends."""
    quote, text, inner = script[i], "", []
    i += 1
    while script[i] != quote:
        if quote == "`" and script.startswith("${", i):
            end = _closing(script, i + 2)
            inner.append(script[i + 2 : end])
            name = EXPRESSION.match(inner[-1])
            name = name[1] if name and f"{{{name[1]}}}" not in text else str(n_before + len(inner))
            text, i = text + f"{{{name}}}", end + 1
        elif script[i] == "\\":
            escape = re.match(r"\\(u[0-9a-f]{4}|.)", script[i:])[0]
            text, i = text + json.loads(f'"{escape}"' if escape[1] in 'nu"\\' else f'"{escape[1]}"'), i + len(escape)
        else:
            text, i = text + script[i], i + 1
    return text, inner, i + 1


def _closing(script: str, i: int) -> int:
    """Where the brace closes that was opened before i."""
    while script[i] != "}":
        if script[i] == "{":
            i = _closing(script, i + 1)
        elif script[i] in QUOTES:
            i = _literal(script, i, 0)[2] - 1
        i += 1
    return i

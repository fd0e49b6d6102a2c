"""The page of a deck: a class's slides in reveal.js's markup, the plan for its clock, and what there is to guess."""

import ast
import html
import json
import re
from pathlib import Path

import jinja2
from nbconvert.filters import strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from helpers.language import t
from tools.slides.deck import ANSWER, REVEAL, Slide, printed
from tools.slides.notes import Row
from tools.translate.literals import without_magics
from tools.translate.messages import MARKED

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
CODE_WIDTH, CODE_LINES = 97, 21  # characters and lines of a program's slide at 75 % of its size
SCRIPT = Path(__file__).with_name("deck.js").read_text(encoding="utf-8")
PAGE = Path(__file__).with_name("deck.html").read_text(encoding="utf-8")


def page(title: str, lang: str, lib: str, plan: list[Row], slides: list[Slide]) -> str:
    """The whole page; `lib` leads from it to the folder of scripts and styles."""
    words = {text: t(text) for text in ("yes", "no", *MARKED.findall(SCRIPT))}  # what the page's script says
    deck = {"plan": [{"minutes": row.minutes, "what": _plain(row.what)} for row in plan], "words": words}
    ids = {part.id for slide in slides for part in (slide, *slide.below)}
    links = {f"<code>{name}</code>": f'<a href="#/{name}"><code>{name}</code></a>' for name in ids}
    says = {"title": title, "lang": lang, "lib": lib, "slides": slides, "escape": html.escape, "body": _body}
    says |= {"below": lambda slide: [part for down in slide.below for part in _programs(down)]}
    says |= {"deck": json.dumps(deck, ensure_ascii=False).replace("</", "<\\/")}
    shown = jinja2.Template(PAGE, trim_blocks=True, keep_trailing_newline=True).render(says)
    return re.sub(r"<code>[\w-]+</code>", lambda code: links.get(code[0], code[0]), shown)


def markdown(text: str) -> str:
    """HTML, with formulas left to MathJax; links within the course lead nowhere from here and become text."""
    shown = MarkdownWithMath(renderer=IPythonRenderer(escape=False, exclude_anchor_links=True)).render(text)
    return re.sub(r'<a href="(?!https?://)[^"]*">(.*?)</a>', r"\1", shown, flags=re.DOTALL)


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markdown(text))).strip()


def _body(slide: Slide) -> str:
    text = markdown("\n\n".join(slide.texts)) if slide.texts else ""
    read = "\n\n".join(slide.read)
    read = f'<div class="read fragment">{markdown(read)}</div>' if read else ""
    shown = "".join(_output(cell, slide.kind) for cell in slide.shown)
    if slide.kind == "program":
        return f'<div class="code">{highlight(slide.code, PythonLexer(), HtmlFormatter())}</div>'
    if slide.kind == "predict":
        asked = html.escape(json.dumps(question(slide.shown[0]), ensure_ascii=False))
        return f'{text}<div class="room" data-question="{asked}"></div><div class="answer fragment">{shown}</div>'
    if slide.kind in ("figure", "wide"):
        return f'{text}<div class="beside"><div class="picture">{shown}</div>{read}</div>'
    return text + shown + read


def _output(cell: NotebookNode, kind: str) -> str:
    """What a cell shows: everything, but of a prediction's cell first the answer, then what it draws and tabulates."""
    parts = []
    print_elsewhere = REVEAL.search(cell.source) and len(printed(cell)) <= ANSWER
    for output in cell.outputs:
        page = output.get("data", {}).get("text/html", "")
        if kind == "predict" if page else print_elsewhere and kind != "predict":
            continue
        if output.get("text", "").startswith("Exception reporting mode"):
            continue
        if output.output_type == "stream":
            text = "\n".join(strip_ansi(output.text).strip().splitlines()[: ANSWER if kind == "predict" else None])
            long = ' class="long"' if text.count("\n") > 14 else ""
            parts.append(f"<pre{long}>{html.escape(text)}</pre>")
        elif output.output_type == "error":
            parts.append(f'<pre class="error">{html.escape(f"{output.ename}: {output.evalue}")}</pre>')
        elif page:
            parts.append(f'<div class="page">{page}</div>')
        elif "application/vnd.jupyter.widget-view+json" not in output.data:
            parts.append(f"<pre>{html.escape(output.data.get('text/plain', ''))}</pre>")
    return f'<div class="shown mathjax_ignore">{"".join(parts)}</div>'


def _programs(slide: Slide) -> list[Slide]:
    """A program in parts that a slide can hold, cut where a statement begins."""
    if slide.kind != "program":
        return [slide]
    parts: list[list[str]] = []
    for statement in re.split(r"\n(?=\S)", slide.code.strip()):
        lines = statement.split("\n")
        n = -(-_height(lines) // CODE_LINES)  # a long one in equal parts
        if n == 1 and parts and _height(parts[-1]) + _height(lines) <= CODE_LINES:
            parts[-1] += lines
        else:
            size = -(-len(lines) // n)
            parts += [lines[i : i + size] for i in range(0, len(lines), size)]
    return [Slide(f"{slide.id}-{i}" if i else slide.id, "program", code="\n".join(p)) for i, p in enumerate(parts)]


def _height(lines: list[str]) -> int:
    return sum(1 + len(line) // CODE_WIDTH for line in lines)


def question(shown: NotebookNode) -> dict:
    """What a prediction asks for, out of its cell's `reveal(...)` and what it printed.

    ValueError: no such call, or nothing was measured.
    """
    calls = [node for node in ast.walk(ast.parse(without_magics(shown.source))) if isinstance(node, ast.Call)]
    call = next((node for node in calls if ast.unparse(node.func) == "reveal"), None)
    begin, answers = t("result: {value}", value=""), {t("yes"): True, t("no"): False}
    value = next((line.removeprefix(begin) for line in printed(shown) if line.startswith(begin)), None)
    if call is None or value is None:
        raise ValueError(f"cell {shown['id']}: expected reveal(...) and 'result: ' in its output, got neither or one")
    given = {keyword.arg: _literal(keyword.value) for keyword in call.keywords}
    unit = (_literal(call.args[2]) if len(call.args) > 2 else "") or ""
    offered, bounds = list(given.get("one_of") or ()), list(given.get("bounds") or ())
    number = NUMBER.match(value)
    if value in answers:
        return {"kind": "yes or no", "measured": answers[value]}
    if bounds or (number and not offered):
        measured = float(number[0].replace(",", ""))
        whole = "." not in number[0] and "e" not in number[0]
        return {"kind": "number", "measured": measured, "whole": whole, "unit": unit, "bounds": bounds}
    measured = next((name for name in offered if value.startswith(name)), value.removesuffix(f" {unit}"))
    return {"kind": "word", "measured": measured, "offered": offered}


def _literal(node: ast.expr) -> object:
    """The value of a constant expression, None of any other."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None

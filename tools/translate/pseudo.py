"""English that leaks into the other edition: mark each translated word, run, and look for words without a mark.

    python -m tools.translate.pseudo [NAME ...]     notebooks; into build/pseudo, minutes

What a catalogue keeps stays as it is; what stops or changes the program then should be kept too.
"""

import ast
import html
import json
import os
import re
import sys
from collections.abc import Iterator

import nbformat

from helpers.language import LOCALE
from tools import notebooks
from tools.translate import catalogue, edition, messages
from tools.translate.literals import in_quotes, template

FOLDER = catalogue.ROOT / "build" / "pseudo"
MARK = "¬"
WORD = re.compile(r"[^\W\d_]{3,}")
FIGURES = """
import matplotlib.figure, matplotlib.text
def saved(figure, *where, save=matplotlib.figure.Figure.savefig, **how):
    save(figure, *where, **how)
    print("\u00ac", *{text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_visible()})
matplotlib.figure.Figure.savefig = saved
"""  # said by the first cell's end: what stands in a figure is printed too
UNMARKED = re.compile(rf"(?<![\w{MARK}.])[^\W\d_]{{3,}}(?![\w{MARK}])")


def marked(text: str) -> str:
    """Every word with a mark behind it; placeholders `{name}` as they are."""
    return "".join(p if p.startswith("{") else WORD.sub(r"\g<0>" + MARK, p) for p in re.split(r"(\{[^{}]*\})", text))


def marked_f_string(text: str) -> str:
    tree = ast.parse(in_quotes(text, "f"), mode="eval").body
    for part in tree.values:
        if isinstance(part, ast.Constant):
            part.value = WORD.sub(r"\g<0>" + MARK, part.value)
    return template(tree)


def speaker(name: str) -> edition.Say:
    """What is decided to stay stays; everything else in a program or its output is marked."""
    said = {}
    for entry in catalogue.load(name):
        kept = entry.comment in ("prose", "comment", "docstring") or entry.tcomment == "keep"
        mark = marked_f_string if entry.comment == "f-string" else marked
        said[entry.msgctxt, entry.msgid] = entry.msgid if kept else mark(entry.msgid)
    return lambda context, text: said.get((context, text), text)


def leaks(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Words in outputs that no catalogue has said, and cells that stopped where the English do not, by their ids."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                if "raises-exception" not in cell.metadata.get("tags", []):
                    yield f"{cell['id']}: STOPPED, {output.ename}: {output.evalue[:200]}"
                continue
            shown = output.get("text") or output.data.get("text/html") or output.data.get("text/plain", "")
            shown = re.sub(r"<(script|style)\b.*?</\1>|data-config=\"[^\"]*\"", " ", shown, flags=re.S)
            alts = " ".join(re.findall(r'(?:alt|aria-label|title)="([^"]*)"', shown))
            words = UNMARKED.findall(html.unescape(re.sub(r"<[^>]*>", " ", shown)) + " " + alts)
            if words and cell["id"] != "setup":
                yield f"{cell['id']}: {' '.join(dict.fromkeys(words))[:300]}"


def main(beginnings: list[str]) -> int:
    names = [catalogue.find(beginning) for beginning in beginnings]
    names = names or [name for name in catalogue.names() if name.startswith("notebooks/")]
    edition.build(FOLDER, names, speaker)
    os.environ["COURSE_QUIET"] = "1"
    os.environ["PYTHONPATH"] = str(catalogue.ROOT)  # where the first cell does not find the course above
    file = LOCALE / "pseudo.json"
    file.write_text(json.dumps({m: marked(m) for m in messages.messages()}), encoding="utf-8")
    try:
        for name in names:
            path = FOLDER / edition.counterpart(name)
            notebook = nbformat.read(path, 4)
            setup = next(cell for cell in notebook.cells if cell["id"] == "setup")
            setup.source = setup.source.replace("pt_BR", "pseudo") + FIGURES
            client = notebooks.client(notebook, path)
            client.allow_errors = True
            client.execute()
            nbformat.write(notebook, path)
            for finding in leaks(notebook):
                print(f"{path.name[:2]} {finding}", flush=True)
    finally:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

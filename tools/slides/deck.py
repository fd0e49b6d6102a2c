"""A notebook cut into slides: what a class sees goes across; longer texts and the programs stand one step down."""

import re
from collections import Counter
from dataclasses import dataclass, field

from nbformat import NotebookNode

from tools.notebooks import FOLDED, pages
from tools.slides.lines import Block, blocks, halves, sentences

KINDS = {
    "heading": "#{2,3} ",
    "predict": r"(?s:.*)\*\*Predict[.:]",
    "read": r"\*\*(?:Read|Look)",
    "figure": r"\*\*Figure",
}
KINDS |= {"run": r"\*\*Run", "lead": r"\*\*(?:By hand|Verify|Play|Your turn)"}
MARK = re.compile(r"\*(Class(?: \d)?|Deeper) · (?:\d+ minutes?|to look up)\*")
SILENT = re.compile(r"\*Pause here\.\*$|The (?:first|second) class ends here|</?details>")
END = re.compile(r"## (?:Exercises|Recap)")
REVEAL = re.compile(r"reveal\(\s*my_guess")
NOT_SHOWN = ("badge", "setup", "imports", "card")
ACROSS, CONTEXT, LEAD, BESIDE, BELOW = 95, 60, 38, 50, 64  # words: of a slide, before a prediction, over and by figures
ASKED = 85  # words of a prediction with what comes before it
FULL, ROW, LINE = 600, 48, 36  # px: a slide's height; a table's row and a line of text as they stand there
SHORT, ANSWER = 14, 4  # words that stand above any output; lines of an answer, what is beyond them comes after it
WIDE = 1000  # px, of a figure that leaves no room beside it


@dataclass
class Slide:
    """One slide: its kind, texts as Markdown, the cells whose output it shows, and what stands below it.

    read    what is read beside a figure, or under a table
    code    of a program's slide
    row     its place in the class's plan; None: in none
    deeper  whether it is for home only
    say     what to say about it, as HTML
    """

    id: str
    kind: str = "text"
    texts: list[str] = field(default_factory=list)
    shown: list[NotebookNode] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    code: str = ""
    below: list["Slide"] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    row: int | None = None
    deeper: bool = False
    say: str = ""


@dataclass
class Section:
    """What stands under a heading; `part` is its class, "Class 1" for example, or "Deeper"; "" before the first."""

    part: str = ""
    slides: list[Slide] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)


def n_words(texts: list[str]) -> int:
    """A formula is one word, and what draws a table is none."""
    return sum(len(re.sub(r"\$+[^$]+\$+", "f", re.sub(r"[|*]|---+", " ", text)).split()) for text in texts)


def cut(english: NotebookNode, shown: NotebookNode) -> list[Section]:
    """The sections of a notebook up to its exercises; kinds are found in the English, everything else in `shown`."""
    cutter = _Cutter()
    for a, b in zip(english.cells, shown.cells, strict=True):
        if a["id"] in NOT_SHOWN:
            continue
        if a.cell_type == "code":
            cutter.program(b)
            continue
        for block in (half for whole in blocks(a.source, b.source) for half in halves(whole)):
            if END.match(block.english):
                cutter.flush()
                return _named_once(cutter.sections)
            cutter.text(block, a["id"])
    raise ValueError("expected a heading '## Exercises' or '## Recap' in the notebook, got none")


def _named_once(sections: list[Section]) -> list[Section]:
    """Two slides made of one cell get two names: the page's address leads to one."""
    seen: Counter = Counter()
    for slide in (part for section in sections for top in section.slides for part in (top, *top.below)):
        seen[slide.id] += 1
        if seen[slide.id] > 1:
            slide.id += f"-{seen[slide.id]}"
    return sections


def output_kind(cell: NotebookNode) -> str:
    """What a cell's output is on a slide: "" for none."""
    shown = "".join(pages(cell))
    if 'class="cw"' in shown:
        return "card"
    if image := re.search(r'<img [^>]*?width="(\d+)"', shown):
        return "wide" if int(image[1]) >= WIDE else "figure"
    return "output" if cell.get("outputs") else ""


class _Cutter:
    """Collects texts until what they speak of comes."""

    def __init__(self) -> None:
        self.sections = [Section()]
        self.pending: list[tuple[str, str]] = []  # kind, what is shown
        self.name = ""  # of the cell in which the pending text begins
        self.waiting: list[Slide] = []  # programs of the slide to come
        self.reading = False  # whether a text goes on with what is read off the last output

    @property
    def last(self) -> Slide | None:
        slides = self.sections[-1].slides
        return slides[-1] if slides else None

    def text(self, block: Block, cell_id: str) -> None:
        kind = next((name for name, pattern in KINDS.items() if re.match(pattern, block.english)), "plain")
        if match := MARK.fullmatch(block.english):
            self.sections[-1].part = match[1]
            return
        if SILENT.match(block.english):
            return
        if kind == "heading":
            self.flush()
            self.sections.append(Section())
        elif kind == "read" and self.last:
            self.flush()
            self.reading = True
        if self.reading and kind in ("read", "plain"):
            self._read(block.shown, cell_id)
            return
        self.reading = False
        if "predict" in self._kinds():  # what is said before it is run
            self.waiting.append(Slide(f"{cell_id}-{len(self.waiting)}", "text", [block.shown]))
            return
        before = n_words([text for kind, text in self.pending if kind != "heading"])
        both = before + n_words([block.shown])
        too_much = {"predict": before > CONTEXT or both > ASKED, "figure": before > LEAD, "lead": both > CONTEXT}
        if before and too_much.get(kind, both > ACROSS):
            self.flush(across=kind != "lead" or "heading" in self._kinds())
        self.name = self.name or cell_id
        self.pending.append((kind, block.shown))

    def program(self, shown: NotebookNode) -> None:
        """A code cell: its output on a slide with the text before it, its code one step down."""
        self.reading = False
        self.sections[-1].cells.append(shown["id"])
        if shown.source.startswith("my_guess = None"):
            return
        kind = output_kind(shown)
        asked = "predict" in self._kinds()
        code = [] if kind == "card" or FOLDED in shown.metadata.get("tags", []) else [shown.source]
        programs = [Slide(f"{shown['id']}-code", "program", code=text) for text in code]
        if not kind or (asked and not REVEAL.search(shown.source)):
            self.waiting += programs
            return
        after = self._after_the_figures_name() if kind in ("figure", "wide") else []
        if not asked and not self._fits_above(shown, kind):
            self.flush(across=True)
        if asked:
            self._show(Slide(shown["id"], "predict", self._take()), shown)
        if not asked or len(printed(shown)) > ANSWER or pages(shown):  # a table, a figure, many lines
            self._show(Slide(f"{shown['id']}-more" if asked else shown["id"], kind, self._take()), shown)
        self.last.below += self.waiting + programs
        self.waiting = []
        for text in after:
            self._read(text, shown["id"])

    def _fits_above(self, shown: NotebookNode, kind: str) -> bool:
        words = n_words([text for _, text in self.pending])
        return words <= LEAD if kind in ("figure", "wide", "card") else words <= SHORT or _height(shown, words) <= FULL

    def _show(self, slide: Slide, shown: NotebookNode) -> None:
        last = self.last
        if not slide.texts and last and {slide.kind, last.kind} == {"output"} and _height(shown) < LINE * ANSWER:
            slide = last  # a line more
        else:
            self.sections[-1].slides.append(slide)
        slide.shown.append(shown)
        slide.cells.append(shown["id"])

    def flush(self, across: bool = False) -> None:
        """The pending text as a slide: of its own where it opens a section or is needed, else below the last one."""
        if self.pending:
            across = across or self.last is None or self.last.kind == "text" or self._kinds() - {"plain"}
            slide = Slide(self.name, "text", self._take())
            (self.sections[-1].slides if across else self.last.below).append(slide)
        if self.waiting and self.last:
            self.last.below += self.waiting
            self.waiting = []

    def _read(self, text: str, cell_id: str) -> None:
        """Beside its figure as much as there is room for; the rest one step down."""
        room = {"figure": BESIDE, "wide": BELOW, "output": 170 - n_words(self.last.texts)}.get(self.last.kind, 0)
        if self.last.kind == "output":
            room -= sum(map(_height, self.last.shown)) // LINE * 11
        more = self.last.below[-1] if self.last.below and self.last.below[-1].kind == "read" else None
        here, begun = [], False
        for sentence in sentences(text):
            if more is None and n_words([*self.last.read, *here, sentence]) <= room:
                here.append(sentence)
                continue
            if more is None or n_words([*more.texts, sentence]) > ACROSS:
                more = Slide(f"{cell_id}-{len(self.last.below)}", "read", [sentence])
                self.last.below.append(more)
            elif begun:
                more.texts[-1] += f" {sentence}"
            else:
                more.texts.append(sentence)
            begun = True
        if here:
            self.last.read.append(" ".join(here))

    def _after_the_figures_name(self) -> list[str]:
        """What pends after the text that announces the figure: it says what is seen there."""
        at = next((i for i, (kind, _) in enumerate(self.pending) if kind == "figure"), len(self.pending))
        after, self.pending = self.pending[at + 1 :], self.pending[: at + 1]
        return [text for _, text in after]

    def _kinds(self) -> set[str]:
        return {kind for kind, _ in self.pending}

    def _take(self) -> list[str]:
        texts = [text for _, text in self.pending]
        self.pending, self.name = [], ""
        return texts


def printed(cell: NotebookNode) -> list[str]:
    """The lines that a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs).splitlines()


def _height(cell: NotebookNode, words: int = 0) -> float:
    """About how many pixels an output takes, with so many words above it."""
    shown = pages(cell)
    lines = [line for text in (printed(cell), *(p.splitlines() for p in shown if "<tr" not in p)) for line in text]
    wrapped = sum(1 + len(re.sub("<[^>]+>", "", line)) // 70 for line in lines)
    return ROW * sum(page.count("<tr") for page in shown) + LINE * (wrapped + words / 11)

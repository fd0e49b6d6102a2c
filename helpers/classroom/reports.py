"""The weekly report: a Markdown file under the class's seven headings, filled with what a run measured."""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.classroom.pages import readable
from helpers.classroom.titles import literal
from helpers.gpt import Record, Update, require_known
from helpers.labs import metrics
from helpers.language import ENGLISH, chosen, t
from helpers.storage import write_aside

ASSET = Path(__file__).parents[1] / "assets" / "weekly_report.json"
FILE_NAME = "weekly_report.md"
FIGURE_DPI = 150


@cache
def headings() -> tuple[dict[str, str], ...]:
    """The class's seven sections in order: key in `write`, title in Portuguese and in English, and what each asks."""
    return tuple(json.loads(ASSET.read_text(encoding="utf-8")))


def write(
    folder: str | Path,
    *,
    title: str,
    sections: Mapping[str, str] | None = None,
    checks: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    records: Mapping[str, Iterable[Record]] | None = None,
    results: Mapping[str, metrics.Result] | None = None,
    samples: Mapping[str, str] | None = None,
    figures: Sequence[tuple[Axes | Figure, str]] = (),
    overwrite: bool = False,
) -> Path:
    """Write the report and its figures, and return the path of the Markdown file.

    folder     made if it is missing; the folder above it must be there
    sections   your own words in Markdown, by the keys of `headings` ("concepts", "correctness", ...). A section without
               words gets a line that says what to write
    checks     what was checked and what it gave, for "correctness": {"loss on 100 memorised texts": 0.02, ...}
    settings   of the run, for "results"; {"model": "opt-125m", "learning rate": 3e-4, ...}
    records    a run's records by its name, for a table of losses with a row for each evaluation
    results    perplexities by name, each of which comes with its protocol card
    samples    texts that the model generated, by their prompts
    figures    (axes or figure, alternative text), saved as PNG beside the report
    overwrite  True replaces the report that is there, your changes in it too

    The report takes its name last, when everything it shows is on the disk. Figures are named after their content, so
    that an older report keeps its own. The same input gives the same file: no date, nothing of the machine.
    ValueError: an unknown section, no title, a figure without alternative text, no place for the folder, or a report
    that is there already.
    """
    path = Path(folder) / FILE_NAME
    sections = dict(sections or {})
    _check(path, title, sections, overwrite)
    pictures = [_picture(number, drawn, alt) for number, (drawn, alt) in enumerate(figures, 1)]
    shown = [
        (t("Settings"), _table((t("setting"), t("value")), (settings or {}).items())),
        (t("Losses"), _table(_loss_columns(), [row for run in (records or {}).items() for row in _losses(*run)])),
        *((t("Perplexity: {name}", name=name), result.card()) for name, result in (results or {}).items()),
        *((t("Sample {i}", i=i), _sample(*pair)) for i, pair in enumerate((samples or {}).items(), 1)),
        (t("Figures"), "\n\n".join(shown for _, _, shown in pictures)),
    ]
    measured = {
        "correctness": _table((t("check"), t("result")), (checks or {}).items()),
        "results": "\n\n".join(f"### {metrics.markdown_text(name)}\n\n{body}" for name, body in shown if body),
    }
    path.parent.mkdir(exist_ok=True)
    for name, png, _ in pictures:
        with write_aside(path.parent / name) as file:
            file.write(png)
    with write_aside(path) as file:
        file.write(_text(title, sections, measured).encode())
    return path


def _check(path: Path, title: str, sections: Mapping[str, str], overwrite: bool) -> None:
    if not title.strip():
        raise ValueError("expected a title for the report, got none")
    require_known("section", sections, [heading["key"] for heading in headings()])
    if not path.parent.parent.is_dir():
        raise ValueError(f"{path.parent.parent} is no folder: make it first, or choose another place for the report")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already, perhaps with words of yours: overwrite=True replaces it")


def _picture(number: int, drawn: Axes | Figure, alt: str) -> tuple[str, bytes, str]:
    """Name, content and Markdown of a figure."""
    if not alt.strip():
        raise ValueError(f"figure {number} needs alternative text: say in a sentence what it shows")
    figure = literal(drawn)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=FIGURE_DPI, facecolor="white", metadata={"Software": None})
    png = file.getvalue()
    name = f"figure_{number}_{hashlib.sha256(png).hexdigest()[:8]}.png"
    return name, png, f"![{metrics.markdown_text(alt)}]({name})"


def _text(title: str, sections: Mapping[str, str], measured: Mapping[str, str]) -> str:
    parts = [f"# {metrics.markdown_text(title)}"]
    for number, heading in enumerate(headings(), 1):
        parts.append(f"## {number}. {heading['portuguese']}")
        parts.append(f"*{heading['english']}*" if chosen() == ENGLISH else "")
        own = sections.get(heading["key"], "").strip()
        parts += [own or f"> {mark()} {t(heading['asks'])}.", measured.get(heading["key"], "")]
    return "\n\n".join(part for part in parts if part) + "\n"


def mark() -> str:
    """How a line begins that says what is still to be written."""
    return t("**To write:**")


def _loss_columns() -> tuple[str, ...]:
    training, validation = t("training loss since the row above, nats"), t("validation loss, nats")
    return t("run"), t("updates"), t("tokens trained on"), training, validation, t("validation perplexity")


def _losses(name: str, records: Iterable[Record]) -> list[tuple[object, ...]]:
    """A row for each evaluation, and one for updates after the last; the training loss weights every token alike."""
    rows: list[tuple[object, ...]] = []
    nats, n_tokens, before = 0.0, 0, None
    for record in records:
        if before is None:  # a resumed run does not say how large its first batch is: left out
            before = 0 if record.step == 0 else record.n_tokens
        last = record
        if isinstance(record, Update):
            nats += record.loss_nats * (record.n_tokens - before)
            n_tokens += record.n_tokens - before
            before = record.n_tokens
        else:
            mean = nats / n_tokens if n_tokens else t("not measured")
            rows.append((name, record.step, record.n_tokens, mean, record.loss_nats, record.perplexity))
            nats, n_tokens = 0.0, 0
    if n_tokens:
        rows.append((name, last.step + 1, last.n_tokens, nats / n_tokens, t("not measured"), t("not measured")))
    return rows


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, or nothing where there is no row."""
    shown = [[readable(cell) for cell in row] for row in rows]
    return metrics.markdown_table(columns, shown) if shown else ""


def _sample(prompt: str, text: str) -> str:
    """Prompt and text word for word: in a fence that is longer than any inside."""
    longest = max((len(run) for run in re.findall("`+", prompt + text)), default=0)
    fence = "`" * max(3, longest + 1)
    quoted = [f"{fence}text\n{said}\n{fence}" for said in (prompt, text)]
    return "\n\n".join([t("Prompt:"), quoted[0], t("The model:"), quoted[1]])

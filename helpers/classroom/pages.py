"""HTML building blocks without a script: a text shaded by numbers, and a plain table. Nothing here knows torch."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from helpers.language import t

FONT = "font-family: system-ui, 'Segoe UI', Roboto, Arial, sans-serif; font-size: 16px;"
CARD = f"{FONT} background-color: #ffffff; color: #16191d; padding: 10px 14px; max-width: 1000px;"
SHADE = (0, 114, 178)  # Okabe and Ito's blue, as in the figures
DARKEST = 0.62  # share of SHADE at the top of the scale: dark text on it keeps a contrast of 4.5
LINE_BREAK = "<br>"
DOLLAR = "<span>$</span>"  # alone in an element it opens no formula: MathJax looks within a piece of text
SHOWN_DIGITS = 1  # decimals of the numbers in a shaded text
# keys of reports and records, said in the reader's language by a table, and by `named` elsewhere
NAMED = (
    *("English", "random", "shuffled", "rows exchanged", "from English", "from random", "training", "stride"),
    *("english", "portuguese", "truncate", "pad", "pack", "course", "model", "change", "FLOPs", "all", "total"),
    *("token embedding", "position embedding", "attention", "feed forward", "norms", "head", "embedding"),
    *("feed-forward", "GPT-2's parts", "rotary positions", "grouped heads", "no biases", "all five"),
    *("sum", "product", "power of sum"),
)


@dataclass(frozen=True)
class Html:
    """A piece of HTML that a notebook displays, and the line that stands for it in plain text."""

    markup: str
    text: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.text


def text_heatmap(
    tokens: Sequence[str],
    values: Sequence[float | None],
    *,
    label: str,
    unit: str,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Html:
    """A text whose tokens are shaded by a number, which stands small above each: legible without the colour.

    tokens  N pieces of text in order, spaces and line breaks as they are
    values  N finite numbers, or None for a token that has none (the first one has no prediction); rounded to one
            decimal before they are shaded, so that another machine's last digits change no colour
    label   what the numbers are ("surprisal"), unit theirs ("nats")
    vmin    the number that stays white, vmax the darkest one; None: the smallest and the largest given
    return  an object that a notebook shows; styles are inline, so that a sanitiser leaves them alone

    ValueError: lengths differ, nothing to show, a number that is not finite, or vmin not below vmax.
    """
    if len(tokens) != len(values):
        raise ValueError(
            f"one value per token: got {len(tokens)} tokens and {len(values)} values (None where there is none)"
        )
    values = [None if v is None else round(float(v), SHOWN_DIGITS) for v in values]
    known = [v for v in values if v is not None]
    if not known or not all(math.isfinite(v) for v in known):
        raise ValueError(f"expected at least one value and finite ones only, got {known[:8]}")
    if vmin is not None and vmax is not None and not vmin < vmax:
        raise ValueError(f"vmin must be below vmax, got {vmin} and {vmax}")
    low, high = min(known) if vmin is None else vmin, max(known) if vmax is None else vmax
    body = "".join(_token(token, v, low, high, label, unit) for token, v in zip(tokens, values, strict=True))
    steps = [low + (high - low) * i / 4 for i in range(5)]
    legend = " ".join(f'<span style="{_shade(v, low, high)}; padding: 1px 8px">{v:.1f}</span>' for v in steps)
    said = t("{label} in {unit}", label=label, unit=unit)
    markup = (
        f'<div style="{CARD}"><div style="{FONT}">{escaped(said)}: {legend}</div>'
        f'<div style="{FONT} line-height: 2.3; margin-top: 8px">{body}</div></div>'
    )
    what = {"n": len(tokens), "label": label, "low": min(known), "high": max(known), "unit": unit}
    return Html(markup, t("{n} tokens shaded by {label}, {low:.1f} to {high:.1f} {unit}", **what))


def _token(token: str, value: float | None, low: float, high: float, label: str, unit: str) -> str:
    shown = escaped(token).replace("\n", f"↵{LINE_BREAK}").replace("\t", "⇥")
    shown = shown.replace(" ", "\u00b7") if not token.strip(" ") else shown
    if value is None:
        return f"<span>{shown}</span>"
    title = html.escape(f"{token!r}: {label} {value:.1f} {unit}")
    number = f'<sup style="font-size: 13px; line-height: 1">{value:.1f}</sup>'
    breaks = LINE_BREAK * shown.count(LINE_BREAK)
    shown = shown.replace(LINE_BREAK, "")
    return f'<span title="{title}" style="{_shade(value, low, high)}; padding: 3px 1px">{shown}{number}</span>{breaks}'


def _shade(value: float, low: float, high: float) -> str:
    share = 0.0 if high <= low else min(max((value - low) / (high - low), 0.0), 1.0)
    r, g, b = (round(255 + (channel - 255) * share * DARKEST) for channel in SHADE)
    return f"background-color: #{r:02x}{g:02x}{b:02x}; color: #16191d"


def table(rows: Sequence[Sequence[object]], columns: Sequence[str], caption: str = "") -> Html:
    """A plain table, numbers to the right and words to the left. Strings stay as they are: give them their digits.

    rows     cells by row; a float gets 4 significant digits (whole from 1,000 on), an int thousands separators
    columns  one heading per cell of a row
    caption  the one claim, above the table

    ValueError: no column, or a row with another number of cells.
    """
    if not columns:
        raise ValueError("expected at least one column, got none")
    for i, row in enumerate(rows):
        if len(row) != len(columns):
            raise ValueError(
                f"row {i} has {len(row)} cells, but there are {len(columns)} columns: {', '.join(columns)}"
            )
    right = [bool(rows) and all(_is_number(row[j]) for row in rows) for j in range(len(columns))]
    columns = [t(name) for name in columns]
    head = "".join(_cell("th", name, right[j], "600", "#5b6470") for j, name in enumerate(columns))
    shown = [[t(readable(cell, zeros=True)) for cell in row] for row in rows]
    cells = ("".join(_cell("td", cell, right[j], "400", "#d5dae0") for j, cell in enumerate(row)) for row in shown)
    style = f"{FONT} color: #16191d; text-align: left; padding: 0 0 6px"
    markup = (
        f'<div style="{CARD}"><table style="border-collapse: collapse; margin: 0; color: #16191d">'
        + (f'<caption style="{style}">{escaped(caption)}</caption>' if caption else "")
        + f"<thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in cells)}</tbody></table></div>"
    )
    lines = [caption] * bool(caption) + ["  ".join(line) for line in [columns, *shown]]
    return Html(markup, "\n".join(lines))


def named(key: str) -> str:
    """A key of a report or record in the reader's language, where it stands in a sentence or figure: one of NAMED."""
    return t(key)


def escaped(text: str) -> str:
    """HTML that shows `text` as it is: no tag, no entity, and between two dollar signs no formula."""
    return html.escape(text).replace("$", DOLLAR)


def readable(value: object, zeros: bool = False) -> str:
    """A float with 4 significant digits (whole from 1,000 on), an int with separators, yes or no, a word as it is.

    zeros  whether zeros at the end of a float stay, as a column of a table wants them
    """
    if isinstance(value, bool):
        return t("yes") if value else t("no")
    if not isinstance(value, Real):
        return str(value)
    if isinstance(value, Integral):
        return f"{value:,}"
    if abs(float(f"{value:.4g}")) >= 1000:  # as it will be rounded
        return f"{value:,.0f}"
    return f"{float(value):{'#' if zeros else ''}.4g}" if value else "0"


def _cell(tag: str, content: str, right: bool, weight: str, line: str) -> str:
    style = f"{FONT} font-weight: {weight}; text-align: {'right' if right else 'left'}; padding: 4px 14px 4px 4px; "
    style += f"background-color: #ffffff; border-bottom: 1px solid {line}"
    return f'<{tag} style="{style}">{escaped(content)}</{tag}>'


def _is_number(cell: object) -> bool:
    if isinstance(cell, str):
        cleaned = cell.replace(",", "").replace("\u2212", "-").rstrip("%× ")
        try:
            float(cleaned)
        except ValueError:
            return False
        return True
    return isinstance(cell, Real) and not isinstance(cell, bool)

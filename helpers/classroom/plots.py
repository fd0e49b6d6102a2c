"""Figures in the house style: plain data and an optional `ax` in, the `Axes` out; `show` alone puts one on the page."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from helpers.classroom import titles
from helpers.language import t

# Okabe & Ito 2008: told apart with every common colour-vision deficiency
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = Path(__file__).parents[1] / "assets" / "house.mplstyle"
SHARPNESS = 1.5  # pixels of the image for each pixel on the page, for projectors
REFERENCE = {"color": "#555555", "linestyle": "--", "linewidth": 1.4}
GRID_TYPE = 12  # points


def house_style() -> None:
    """Type large enough for a projector, quiet axes, a colour-blind-safe cycle that also changes marker and dash."""
    plt.style.use(STYLE)
    plt.rc("axes", prop_cycle=plt.cycler(color=COLOURS, linestyle=["-", "--", "-.", ":", "-", "--", "-."]))


def show(drawn: Axes | Figure, alt: str) -> None:
    """Display a figure once, as an image that carries its alternative text, and close it. Arguments as for `bundle`."""
    from IPython.display import display

    display(bundle(drawn, alt), raw=True)


def bundle(drawn: Axes | Figure, alt: str) -> dict[str, str]:
    """What a notebook shows of a figure, by MIME type: an image with its alternative text. The figure is closed.

    alt  what a person who cannot see the figure needs to know: axes, shape of the curve, the claim

    An <img> of our own, because notebook front ends drop the alternative text of a plain PNG output.
    ValueError: no alternative text.
    """
    if not alt.strip():
        raise ValueError("a figure needs alternative text: say in a sentence what it shows")
    figure, pixels, png = titles.literal(drawn), io.BytesIO(), io.BytesIO()
    titles.wrap(figure)
    width = round(figure.get_figwidth() * figure.dpi)
    figure.savefig(pixels, format="png", dpi=SHARPNESS * figure.dpi, facecolor="white")
    # a palette of 256 colours: a third of the bytes, and notebooks are stored with their figures
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(png, format="PNG", optimize=True)
    source = base64.b64encode(png.getvalue()).decode()
    named = f'<img alt="{html.escape(alt)}" width="{width}" style="max-width: 100%"'
    plt.close(figure)
    return {"text/html": f'{named} src="data:image/png;base64,{source}">', "text/plain": t("figure: {alt}", alt=alt)}


def new_axes(ax: Axes | None = None, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """The given axes or fresh ones, titled and labelled."""
    ax = plt.figure().add_subplot() if ax is None else ax
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax


def reference_line(ax: Axes, value: float, label: str, axis: str = "y") -> Axes:
    """A dashed line at `value` of `axis`, its name written on it: the floor, the ceiling, what to compare with.

    ValueError: an axis other than "x" or "y".
    """
    if axis not in ("x", "y"):
        raise ValueError(f"axis must be 'x' or 'y', got {axis!r}")
    if axis == "y":
        ax.axhline(value, **REFERENCE)
        ax.annotate(label, (0.99, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#333333")
    else:
        ax.axvline(value, **REFERENCE)
        place = {"xycoords": ("data", "axes fraction"), "xytext": (4, 0), "textcoords": "offset points"}
        ax.annotate(label, (value, 0.98), **place, ha="left", va="top", color="#333333")
    return ax


def bars(
    labels: Sequence[str],
    values: Any,
    *,
    title: str,
    xlabel: str,
    highlight: Sequence[int] = (),
    number: str = "{:.3f}",
    ax: Axes | None = None,
) -> Axes:
    """Horizontal bars, first on top, each with its number written at its end; `highlight` ones differ by hatch too.

    labels     one per bar
    values     as many numbers, array-like
    highlight  indices of bars to mark
    number     format of the written number

    ValueError: as many labels as values are needed, and at least one; a highlighted bar that is not there.
    """
    heights = np.asarray(values, dtype=float)
    if heights.ndim != 1 or len(labels) != len(heights) or not len(labels):
        raise ValueError(f"expected one value per label, got {len(labels)} labels and values of shape {heights.shape}")
    if not (chosen := set(highlight)) <= set(range(len(labels))):
        raise ValueError(f"highlight names bars 0 to {len(labels) - 1}, got {sorted(chosen)}")
    ax = new_axes(ax, title, xlabel)
    rows = ax.barh(range(len(labels)), heights, color=[COLOURS[i in chosen] for i in range(len(labels))])
    for i in chosen:
        rows[i].set(hatch="//", edgecolor="white")
    ax.bar_label(rows, labels=[number.format(v) for v in heights], padding=4)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.margins(x=0.15)
    return ax


def lines(
    series: dict[str, tuple[Any, Any]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Named curves over one pair of axes.

    series  name -> (x, y), array-likes of equal length

    ValueError: no series, or x and y of different length.
    """
    if not series:
        raise ValueError("expected at least one named series, got none")
    ax = new_axes(ax, title, xlabel, ylabel)
    for name, (x, y) in series.items():
        ax.plot(*_of_one_shape(name, x, y), label=name)
    for wanted, scale in ((logx, ax.set_xscale), (logy, ax.set_yscale)):
        if wanted:
            scale("log")
    if len(series) > 1:
        ax.legend()
    return ax


def _of_one_shape(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    if np.shape(x) != np.shape(y):
        raise ValueError(f"{name!r}: x and y must have one shape, got {np.shape(x)} and {np.shape(y)}")
    return x, y


def reliability(groups: dict[str, tuple[Any, Any, Any]], *, title: str) -> Axes:
    """Accuracy against confidence, with the diagonal on which a calibrated predictor lies.

    groups  name -> (confidence, accuracy, number of predictions), array-likes of equal length; area shows the number

    ValueError: no group, or more groups than markers.
    """
    if not 1 <= len(groups) <= len(MARKERS):
        raise ValueError(f"expected 1 to {len(MARKERS)} named groups, got {len(groups)}")
    ax = new_axes(None, title, t("confidence: probability of the top-1 token"), t("accuracy: how often it came"))
    ax.plot([0, 1], [0, 1], **REFERENCE)
    for i, (name, (confidence, accuracy, n)) in enumerate(groups.items()):
        sizes = 40 + 260 * np.asarray(n, dtype=float) / np.sum(np.asarray(n, dtype=float))
        ax.plot(confidence, accuracy, color=COLOURS[i])
        ax.scatter(confidence, accuracy, s=sizes, color=COLOURS[i], marker=MARKERS[i], label=name, zorder=3)
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(loc="upper left")
    return ax


def token_grid(
    labels: Sequence[Sequence[str]],
    values: Any,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    xlabel: str,
    shade: str,
) -> Axes:
    """A grid of tokens, each shaded by a number: what is said where, by which layer (the first one below).

    labels   rows of as many pieces of text; an empty one leaves its cell blank
    values   (rows, columns), array-like; NaN leaves a cell white
    shade    what the numbers are, written at the scale

    ValueError: labels, values, row names and column names that do not belong together.
    """
    numbers = np.asarray(values, dtype=float)
    shape = (len(rows), len(columns))
    if numbers.shape != shape or [len(row) for row in labels] != [shape[1]] * shape[0]:
        raise ValueError(
            f"expected labels and values of shape {shape}, got values {numbers.shape} and {len(labels)} rows"
        )
    ax = plt.figure(figsize=(min(1.2 + 1.05 * shape[1], 11.5), 1.5 + 0.45 * shape[0])).add_subplot()
    new_axes(ax, title, xlabel)
    image = ax.imshow(numbers, cmap="Blues", aspect="auto", origin="lower", vmin=0)
    middle = np.nanmax(numbers) * 0.6
    for i, row in enumerate(labels):
        for j, label in enumerate(row):
            colour = "white" if numbers[i, j] > middle else "#16191d"
            ax.text(j, i, label, ha="center", va="center", color=colour, fontsize=GRID_TYPE)
    ax.set_yticks(range(shape[0]), rows)
    ax.set_xticks(range(shape[1]), columns, fontsize=GRID_TYPE)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=shade, pad=0.01)
    return ax


def scores_in_the_plane(hidden: Any, tokens: Any, labels: Sequence[str], *, title: str, ax: Axes | None = None) -> Axes:
    """Tokens as points, a hidden state as an arrow, and the straight lines on which every point has the same score.

    hidden  (2,) the arrow's tip, not zero
    tokens  (V, 2) one point per token
    labels  V names

    ValueError: other shapes, or a hidden state without a direction.
    """
    h, points = np.asarray(hidden, dtype=float), np.asarray(tokens, dtype=float)
    if h.shape != (2,) or points.shape != (len(labels), 2) or not h.any():
        raise ValueError(
            f"expected hidden (2,) not zero and tokens ({len(labels)}, 2), got {h.shape} and {points.shape}"
        )
    ax = plt.figure(figsize=(6, 5.4)).add_subplot() if ax is None else ax
    new_axes(ax, title, t("first coordinate"), t("second coordinate"))
    unit, across = h / np.linalg.norm(h), np.array([-h[1], h[0]]) / np.linalg.norm(h)
    for i, (point, label) in enumerate(zip(points, labels, strict=True)):
        projection = unit * (point @ unit)
        ax.axline(projection, projection + across, color="#bbbbbb", linewidth=1, linestyle="-", zorder=0)
        ax.plot(*np.stack([point, projection]).T, color=COLOURS[1], linewidth=1.4, linestyle=":")
        ax.plot(*projection, "|", color=COLOURS[1], markersize=9)
        ax.plot(*point, MARKERS[i % len(MARKERS)], color=COLOURS[0], markersize=9)
        on_arrow = abs(point @ across) < 0.1  # there the name goes below, clear of the arrow
        ax.annotate(f"{label}: {point @ h:.0f}", point, xytext=(8, -18 if on_arrow else 6), textcoords="offset points")
    ax.axline((0, 0), h, color="#cccccc", linewidth=1, linestyle="--", zorder=0)
    ax.annotate("", h, (0, 0), arrowprops={"arrowstyle": "-|>", "color": COLOURS[6], "linewidth": 2.4})
    ax.annotate("h", h, xytext=(6, -16), textcoords="offset points", fontweight="bold")
    corners = np.vstack([points, h, [0, 0]])
    (left, bottom), (right, top) = corners.min(0) - 0.5, corners.max(0) + 0.6
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.grid(False)
    return ax


def labelled_cloud(
    groups: dict[str, tuple[Any, Any]],
    names: dict[str, tuple[float, float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Many points in named groups, told apart by colour and marker, and a few of them called by name.

    groups  name -> (x, y), array-likes of equal length
    names   label -> (x, y) of the point it belongs to

    ValueError: no group, more than three, or x and y of different length.
    """
    if not 1 <= len(groups) <= 3:
        raise ValueError(f"expected 1 to 3 groups of points, got {len(groups)}")
    ax = new_axes(ax, title, xlabel, ylabel)
    for i, (group, (x, y)) in enumerate(groups.items()):
        x, y = _of_one_shape(group, x, y)
        look = {"s": 4 if len(x) > 1000 else 22, "marker": MARKERS[i], "color": COLOURS[(5, 1, 2)[i]]}
        ax.scatter(x, y, label=group, rasterized=True, **look)
    for label, (x, y) in names.items():
        ax.annotate(label, (x, y), xytext=(9, -4), textcoords="offset points", fontsize=11)
    ax.margins(x=0.16)  # room for the names
    ax.legend(markerscale=1.6)
    return ax

"""Figures in the house style: each function takes plain data and an optional `ax`, and returns the `Axes`."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with every common colour-vision deficiency
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FIGURE_SIZE = (8.0, 4.2)  # inches
SHARPNESS = 1.5  # pixels of the image for each pixel on the page, for projectors
REFERENCE = {"color": "#555555", "linestyle": "--", "linewidth": 1.4}


def house_style() -> None:
    """Type large enough for a projector, quiet axes, a colour-blind-safe cycle that also changes marker and dash."""
    plt.rcParams.update(
        {
            "figure.figsize": FIGURE_SIZE,
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 13,
            "axes.titlesize": 14,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "axes.prop_cycle": plt.cycler(color=COLOURS)
            + plt.cycler(linestyle=["-", "--", "-.", ":", "-", "--", "-."]),
        }
    )


def show(drawn: Axes | Figure, alt: str) -> None:
    """Display a figure once, as an image that carries its alternative text, and close it.

    alt  what a person who cannot see the figure needs to know: axes, shape of the curve, the claim

    An <img> of our own, because notebook front ends drop the alternative text of a plain PNG output.
    ValueError: no alternative text.
    """
    if not alt.strip():
        raise ValueError("a figure needs alternative text: say in a sentence what it shows")
    from IPython.display import display

    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=SHARPNESS * figure.dpi, facecolor="white", metadata={"Software": None})
    width = round(figure.get_figwidth() * figure.dpi)
    source = base64.b64encode(png.getvalue()).decode()
    image = (
        f'<img alt="{html.escape(alt)}" width="{width}" style="max-width: 100%" src="data:image/png;base64,{source}">'
    )
    plt.close(figure)
    display({"text/html": image, "text/plain": f"figure: {alt}"}, raw=True)


def new_axes(ax: Axes | None = None, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """The given axes or fresh ones, titled and labelled."""
    if ax is None:
        ax = plt.figure().add_subplot()
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
        ax.annotate(label, (value, 0.98), xycoords=("data", "axes fraction"), ha="left", va="top", color="#333333")
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

    ValueError: as many labels as values are needed, and at least one.
    """
    heights = np.asarray(values, dtype=float)
    if heights.ndim != 1 or len(labels) != len(heights) or not len(labels):
        raise ValueError(f"expected one value per label, got {len(labels)} labels and values of shape {heights.shape}")
    ax = new_axes(ax, title, xlabel)
    chosen = set(highlight)
    rows = ax.barh(
        range(len(labels)), heights, color=[COLOURS[1] if i in chosen else COLOURS[0] for i in range(len(labels))]
    )
    for i in chosen:
        rows[i].set_hatch("//")
        rows[i].set_edgecolor("white")
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
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if x.shape != y.shape:
            raise ValueError(f"series {name!r}: x and y must have one shape, got {x.shape} and {y.shape}")
        ax.plot(x, y, label=name)
    if logx:
        ax.set_xscale("log")
    if logy:
        ax.set_yscale("log")
    if len(series) > 1:
        ax.legend()
    return ax

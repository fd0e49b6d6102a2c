"""The house style: colours and type for a projector, axes, and the one way in which a figure reaches the page."""

from __future__ import annotations

import base64
import html
import io

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

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
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    width = round(figure.get_figwidth() * figure.dpi)
    source = base64.b64encode(_small_png(figure)).decode()
    image = (
        f'<img alt="{html.escape(alt)}" width="{width}" style="max-width: 100%" src="data:image/png;base64,{source}">'
    )
    plt.close(figure)
    return {"text/html": image, "text/plain": f"figure: {alt}"}


def _small_png(figure: Figure) -> bytes:
    """The figure with a palette of 256 colours: a third of the bytes, and notebooks are stored with their figures."""
    pixels, png = io.BytesIO(), io.BytesIO()
    figure.savefig(pixels, format="png", dpi=SHARPNESS * figure.dpi, facecolor="white")
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(png, format="PNG", optimize=True)
    return png.getvalue()


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
        place = {"xycoords": ("data", "axes fraction"), "xytext": (4, 0), "textcoords": "offset points"}
        ax.annotate(label, (value, 0.98), **place, ha="left", va="top", color="#333333")
    return ax

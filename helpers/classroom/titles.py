"""What a figure says: a title that is wider than its place in several lines, dollar signs as they are."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogFormatter, ScalarFormatter

_SIZE, _GAP = 14, 8  # points of a title, as `plots` sets them; pixels


def literal(drawn: Axes | Figure) -> Figure:
    """The figure, in whose titles, labels and names `R$ 1 to R$ 2` stands as it is; ticks such as 10³ stay formulas.

    matplotlib, as MathJax does, takes what stands between two dollar signs for a formula.
    """
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    counted = [axis for axis in axes if isinstance(axis.get_major_formatter(), ScalarFormatter | LogFormatter)]
    ticks = {text for axis in counted for text in (axis.get_offset_text(), *axis.get_ticklabels(which="both"))}
    for axis in axes:
        axis.get_ticklabels()  # makes those that were given as words
    for text in set(figure.findobj(Text)) - ticks:
        text.set_parse_math(False)
    return figure


def wrap(figure: Figure) -> None:
    """Break the title of each panel where it would reach the next panel or the figure's edge, between words."""
    said = {ax: title for ax in figure.axes if (title := ax.get_title(loc="left"))}
    for ax in said:
        ax.set_title("", loc="left")
    figure.draw_without_rendering()  # so that the layout is known; long titles would squeeze their neighbours
    for ax, title in said.items():
        share = 1 if "\n" in title else min(1, _room(ax) / _width(ax, title))
        ax.set_title(title if share == 1 else textwrap.fill(title, max(8, int(share * len(title)))), loc="left")


def _width(ax: Axes, title: str) -> float:
    """Pixels that the title takes in one line."""
    font = FontProperties(weight="bold", size=_SIZE * ax.figure.dpi / 72)
    return TextPath((0, 0), title.replace("$", ""), prop=font).get_extents().width


def _room(ax: Axes) -> float:
    """Pixels from the panel's left edge to the next panel in its row, or to the figure's edge."""
    box, edge = ax.get_position(), ax.figure.bbox.width
    row = [other.get_position() for other in ax.figure.axes]
    right = [other.x0 for other in row if other.x0 > box.x0 + 0.02 and other.y0 < box.y1 and other.y1 > box.y0]
    return (min(right, default=1.0) - box.x0) * edge - _GAP

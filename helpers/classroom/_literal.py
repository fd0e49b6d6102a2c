"""Dollar signs in figures: matplotlib, as MathJax does, takes what stands between two of them for a formula."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, ScalarFormatter


def literal(drawn: Axes | Figure) -> Figure:
    """The figure, in whose titles, labels and names `R$ 1 to R$ 2` stands as it is; ticks such as 10³ stay formulas."""
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    counted = [axis for axis in axes if isinstance(axis.get_major_formatter(), ScalarFormatter | LogFormatter)]
    ticks = {text for axis in counted for text in (axis.get_offset_text(), *axis.get_ticklabels(which="both"))}
    for axis in axes:
        axis.get_ticklabels()  # makes those that were given as words
    for text in set(figure.findobj(Text)) - ticks:
        text.set_parse_math(False)
    return figure

"""Figures in the house style: each function takes plain data and an optional `ax`, and returns the `Axes`."""

from helpers.classroom.plots._charts import bars, lines, reliability
from helpers.classroom.plots._spaces import labelled_cloud, scores_in_the_plane, token_grid
from helpers.classroom.plots._style import (
    COLOURS,
    MARKERS,
    REFERENCE,
    bundle,
    house_style,
    new_axes,
    reference_line,
    show,
)

__all__ = [
    "COLOURS",
    "MARKERS",
    "REFERENCE",
    "bars",
    "bundle",
    "house_style",
    "labelled_cloud",
    "lines",
    "new_axes",
    "reference_line",
    "reliability",
    "scores_in_the_plane",
    "show",
    "token_grid",
]

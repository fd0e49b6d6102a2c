"""Bars, curves and reliability diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from helpers.classroom.plots._style import COLOURS, MARKERS, REFERENCE, new_axes


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
    chosen = set(highlight)
    if not chosen <= set(range(len(labels))):
        raise ValueError(f"highlight names bars 0 to {len(labels) - 1}, got {sorted(chosen)}")
    ax = new_axes(ax, title, xlabel)
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


def reliability(groups: dict[str, tuple[Any, Any, Any]], *, title: str, ax: Axes | None = None) -> Axes:
    """Accuracy against confidence, with the diagonal on which a calibrated predictor lies.

    groups  name -> (confidence, accuracy, number of predictions), array-likes of equal length; area shows the number

    ValueError: no group, or more groups than markers.
    """
    if not 1 <= len(groups) <= len(MARKERS):
        raise ValueError(f"expected 1 to {len(MARKERS)} named groups, got {len(groups)}")
    ax = new_axes(ax, title, "confidence: probability of the favourite", "accuracy: how often it came")
    ax.plot([0, 1], [0, 1], **REFERENCE)
    for i, (name, (confidence, accuracy, n)) in enumerate(groups.items()):
        sizes = 40 + 260 * np.asarray(n, dtype=float) / np.sum(np.asarray(n, dtype=float))
        ax.plot(confidence, accuracy, color=COLOURS[i])
        ax.scatter(confidence, accuracy, s=sizes, color=COLOURS[i], marker=MARKERS[i], label=name, zorder=3)
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(loc="upper left")
    return ax

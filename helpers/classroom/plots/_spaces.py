"""Pictures of a model at work: tokens by position and depth, scores as shadows, a vocabulary as a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from helpers.classroom.plots._style import COLOURS, MARKERS, new_axes

GRID_TYPE = 12  # points


def token_grid(
    labels: Sequence[Sequence[str]],
    values: Any,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    xlabel: str,
    shade: str,
    ax: Axes | None = None,
) -> Axes:
    """A grid of tokens, each shaded by a number: what is said where (columns) at which stage (rows, the first below).

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
    if ax is None:
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
    if ax is None:
        ax = plt.figure(figsize=(6, 5.4)).add_subplot()
    new_axes(ax, title, "first coordinate", "second coordinate")
    unit, across = h / np.linalg.norm(h), np.array([-h[1], h[0]]) / np.linalg.norm(h)
    for i, (point, label) in enumerate(zip(points, labels, strict=True)):
        shadow = unit * (point @ unit)
        ax.axline(shadow, shadow + across, color="#bbbbbb", linewidth=1, linestyle="-", zorder=0)
        ax.plot(*np.stack([point, shadow]).T, color=COLOURS[1], linewidth=1.4, linestyle=":")
        ax.plot(*shadow, "|", color=COLOURS[1], markersize=9)
        ax.plot(*point, MARKERS[i % len(MARKERS)], color=COLOURS[0], markersize=9)
        on_arrow = abs(point @ across) < 0.1  # there the name goes below, clear of the arrow
        ax.annotate(f"{label}: {point @ h:.0f}", point, xytext=(8, -18 if on_arrow else 6), textcoords="offset points")
    ax.axline((0, 0), h, color="#cccccc", linewidth=1, linestyle="--", zorder=0)
    ax.annotate("", h, (0, 0), arrowprops={"arrowstyle": "-|>", "color": COLOURS[6], "linewidth": 2.4})
    ax.annotate("h", h, xytext=(6, -16), textcoords="offset points", fontweight="bold")
    corners = np.vstack([points, h, [0, 0]])
    ax.set_xlim(corners[:, 0].min() - 0.5, corners[:, 0].max() + 0.6)
    ax.set_ylim(corners[:, 1].min() - 0.5, corners[:, 1].max() + 0.6)
    ax.set_aspect("equal")
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
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if x.shape != y.shape:
            raise ValueError(f"group {group!r}: x and y must have one shape, got {x.shape} and {y.shape}")
        size = 4 if len(x) > 1000 else 22
        ax.scatter(x, y, s=size, marker=MARKERS[i], color=COLOURS[(5, 1, 2)[i % 3]], label=group, rasterized=True)
    for label, (x, y) in names.items():
        ax.annotate(label, (x, y), xytext=(9, -4), textcoords="offset points", fontsize=11)
    ax.margins(x=0.16)  # room for the names
    ax.legend(markerscale=1.6)
    return ax

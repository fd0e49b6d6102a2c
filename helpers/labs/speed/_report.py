"""The ladder as a figure: a panel of bars for each machine, recorded and own measurements side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.labs.speed._published import PUBLISHED, PUBLISHED_MACHINE
from helpers.labs.speed._record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_WIDTH, BAR_HEIGHT, FRAME_HEIGHT = 5.6, 0.42, 1.7  # inches


def figure(*records: Record, title: str, published: bool = True) -> Figure:
    """Tokens/s by rung, a panel for each ladder, all scaled to its own foot: bars of one length are one speed-up.

    records    of `climb` or `Record.read`; a panel's title names the machine. Rungs without numbers say so
    title      the one claim
    published  the published A100 ladder as the last panel, in its own order of changes
    return     the Figure, for `plots.show` with an alternative text

    ValueError: nothing to draw, or a record in which no rung has numbers.
    """
    from helpers.classroom import plots  # matplotlib takes a second, which a measuring process need not pay

    panels = [_panel(record) for record in records]
    if published:
        speeds = [rung.tokens_per_s for rung in PUBLISHED]
        panels.append((PUBLISHED_MACHINE, [rung.says for rung in PUBLISHED], speeds, [""] * len(PUBLISHED)))
    if not panels:
        raise ValueError("nothing to draw: give a Record, or published=True")
    import matplotlib.pyplot as plt

    most = max(len(labels) for _, labels, _, _ in panels)
    height = FRAME_HEIGHT + BAR_HEIGHT * most
    size = (PANEL_WIDTH * len(panels), height)
    drawn, axes = plt.subplots(1, len(panels), figsize=size, sharex=True, squeeze=False, layout="constrained")
    for i, (ax, panel) in enumerate(zip(axes[0], panels, strict=True)):
        _draw(ax, *panel, colour=plots.COLOURS[i % len(plots.COLOURS)])
        ax.set_ylim(most - 0.5, -0.5)  # bars of one thickness in all panels, the first on top
        plots.reference_line(ax, 1, "", axis="x")
    drawn.suptitle(title, fontweight="bold", x=0.01, ha="left")
    return drawn


def _panel(record: Record) -> tuple[str, list[str], list[float], list[str]]:
    """(machine, labels, tokens/s or 0, what stands at the bar instead of a number)."""
    if not record.measured:
        raise ValueError(f"no rung of {record.label} has numbers: {record.rows[0].name} {record.rows[0].reason}")
    speeds = [row.tokens_per_s or 0.0 for row in record.rows]
    labels = [
        f"{row.name} ({row.precision})" if row.name == "half" and row.precision else row.name for row in record.rows
    ]
    return record.label, labels, speeds, ["" if row.status == "ok" else row.status for row in record.rows]


def _draw(ax, machine: str, labels: list[str], speeds: list[float], instead: list[str], colour: str) -> None:
    first = next(speed for speed in speeds if speed)
    bars = ax.barh(range(len(labels)), [speed / first for speed in speeds], color=colour)
    ax.bar_label(bars, [word or f"{speed:,.0f}" for word, speed in zip(instead, speeds, strict=True)], padding=4)
    ax.set_yticks(range(len(labels)), labels)
    ax.grid(False, axis="y")
    ax.margins(x=0.3)
    ax.set_title(machine, fontsize=12)
    ax.set_xlabel("times its first rung\n(at the bars: tokens/s)")

"""Titles of panels stay inside their figure and off their neighbours."""

import matplotlib.pyplot as plt
import pytest

from helpers.classroom import plots, titles

LONG = "Com o cache, um token custa o mesmo em qualquer comprimento, até a janela deslizar de novo"


def spans(figure) -> list[tuple[float, float]]:
    """Left and right end of each panel's title, in pixels."""
    figure.canvas.draw()
    found = [child for ax in figure.axes for child in ax.get_children() if getattr(child, "get_text", str)().strip()]
    boxes = [text.get_window_extent() for text in found if text.get_text().replace("\n", " ").startswith(LONG[:9])]
    return [(box.x0, box.x1) for box in boxes]


@pytest.mark.parametrize("n_panels", [1, 2, 3])
def test_a_long_title_is_broken_where_its_place_ends(n_panels: int) -> None:
    plots.house_style()
    figure, panels = plt.subplots(1, n_panels, figsize=(9, 4), squeeze=False)
    for ax in panels[0]:
        plots.new_axes(ax, LONG, "steps", "nats")
    titles.wrap(figure)
    assert "\n" in panels[0][0].get_title(loc="left"), "the test's title is too short to test anything"
    after = spans(figure)
    ends = [start for start, _ in after[1:]] + [figure.bbox.width]
    assert len(after) == n_panels and all(end <= limit for (_, end), limit in zip(after, ends, strict=True))
    assert panels[0][0].get_title(loc="left").replace("\n", " ") == LONG
    plots.new_axes(panels[0][0], "Loss falls", "steps", "nats")
    titles.wrap(figure)
    assert panels[0][0].get_title(loc="left") == "Loss falls", "a title that fits is left alone"

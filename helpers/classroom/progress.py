"""Watching a run: a progress bar and a live figure over its records, both silent where nobody is watching."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tqdm.auto import tqdm

from helpers.classroom import plots
from helpers.gpt import Evaluation, Record, Update
from helpers.language import t

QUIET_VARIABLE = "COURSE_QUIET"
REDRAW_SECONDS = 1.0  # a figure takes about a tenth of that to draw


def _watched() -> bool:
    """Whether a person is likely to look: in a notebook or a terminal, and not under pytest, nbval or `make notebooks`.

    COURSE_QUIET=1 says no, COURSE_QUIET=0 says yes, whatever else holds.
    """
    asked = os.environ.get(QUIET_VARIABLE)
    if asked is not None:
        return asked == "0"
    if "PYTEST_VERSION" in os.environ:  # set by pytest for all that it starts, nbval's kernels among them
        return False
    return _in_notebook() or sys.stderr.isatty()


def bar(records: Iterable[Record], n_steps: int, done: int = 0) -> Iterator[Record]:
    """Pass the records on and draw a progress bar meanwhile: updates, losses, time left. Nothing in a log file.

    n_steps  updates in the whole run; done  how many of them were made before
    """
    with tqdm(total=n_steps, initial=done, unit=t("step"), disable=not _watched(), dynamic_ncols=True) as progress:
        losses: dict[str, str] = {}
        for record in records:
            losses[t("loss") if isinstance(record, Update) else t("validation")] = f"{record.loss_nats:.3f}"
            progress.set_postfix(losses, refresh=False)
            progress.update(isinstance(record, Update))
            yield record


def live(
    records: Iterable[Record], n_steps: int, references: dict[str, float] | None = None, done: int = 0
) -> Iterator[Record]:
    """`bar`, and in a notebook the curves as they grow; when the run is over they go, for a figure that stays.

    references  name -> loss in nats, drawn as lines: ln V, the entropy rate of the language
    the rest    as for `bar`
    """
    seen: list[Record] = []
    canvas, drawn = None, 0.0
    try:
        for record in bar(records, n_steps, done):
            seen.append(record)
            if _watched() and _in_notebook() and time.monotonic() - drawn > REDRAW_SECONDS:
                canvas, drawn = _redraw(canvas, seen, references or {}), time.monotonic()
            yield record
    finally:
        if canvas is not None:
            canvas.update({"text/plain": ""}, raw=True)


class Curve(NamedTuple):
    """Losses by step: two lists of equal length."""

    steps: list[int]
    losses: list[float]


def curves(records: Iterable[Record]) -> tuple[Curve, Curve]:
    """(training curve, validation curve) of a run's records, in nats per token by updates made."""
    training, validation = Curve([], []), Curve([], [])
    for record in records:
        curve = training if isinstance(record, Update) else validation
        curve.steps.append(record.step)
        curve.losses.append(record.loss_nats)
    return training, validation


def loss_figure(records: Iterable[Record], title: str, references: dict[str, float] | None = None):
    """Training and validation loss by updates made, with its reference lines; returns the Axes.

    ValueError: no record.
    """
    training, validation = curves(records)
    series = {t("training, this batch"): training, t("validation"): validation}
    known = {name: curve for name, curve in series.items() if curve.steps}
    ax = plots.lines(known, title=title, xlabel=t("updates made"), ylabel=t("loss in nats per token"))
    for name, value in (references or {}).items():
        plots.reference_line(ax, value, name)
    return ax


def _redraw(canvas, records: list[Record], references: dict[str, float]):
    from IPython.display import display

    last = next((r for r in reversed(records) if isinstance(r, Evaluation)), records[-1])
    made = records[-1].step + isinstance(records[-1], Update)  # an update's number says how many came before it
    ax = loss_figure(records, t("After {n} updates", n=made), references)
    said = t("loss curves so far, the last one {loss:.3f} nats per token", loss=last.loss_nats)
    content = plots.bundle(ax, said)
    if canvas is None:
        return display(content, raw=True, display_id=True)
    canvas.update(content, raw=True)
    return canvas


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")

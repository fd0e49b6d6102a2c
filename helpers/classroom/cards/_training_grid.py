"""Recorded runs of the toy model over rate, warm-up and batch size: the curve of each setting beside the best one."""

import itertools
from pathlib import Path
from statistics import fmean

from helpers.classroom.cards._card import Card
from helpers.labs import training_grid as grids

START = {"learning_rate": 1e-2, "warmup": 0.1, "batch_size": 16}  # where the sliders start; a share of the updates
NAMES = {"learning_rate": "rate", "warmup": "warmup", "batch_size": "batch"}  # of a record's axis, of the card's slider


def training_grid(record: str | Path = grids.RECORD) -> Card:
    """A card of recorded runs: validation curves of a chosen setting's seeds and of the best one, and all final losses.

    record  a file that `python -m helpers.labs.training_grid` made; every setting has all of its seeds

    FileNotFoundError: no record. ValueError: a damaged or unfinished one.
    """
    content = grids.read(Path(record))
    protocol, axes = content["protocol"], content["protocol"]["axes"]
    warmup = START["warmup"]
    seeds, n = _by_setting(content, Path(record).name), protocol["n_evaluations"] + 1
    finals = {s: fmean(one[-1] for one in of) for s, of in seeds.items() if all(len(one) == n for one in of)}
    shown = {setting: f"{loss:.2f}" for setting, loss in finals.items()}
    best = min(finals, key=finals.__getitem__)
    ends = sorted(losses[-1] for losses in seeds[best])
    return Card(
        kind="grid",
        title="Rate, warm-up and batch size, at equally many tokens",
        sentence=(
            f"{len(seeds)} settings, {len(axes['seed'])} seeds each, {protocol['n_tokens']:,} tokens a run. Lowest "
            f"mean: rate {best[0]:g}, warm-up {100 * best[1]:.0f} %, batch {best[2]}, with {finals[best]:.2f} nats "
            f"(seeds: {ends[0]:.2f} to {ends[-1]:.2f})."
        ),
        values={short: axes[name].index(START[name]) for name, short in NAMES.items()},
        config={
            **protocol,
            "axes": {short: axes[name] for name, short in NAMES.items()},
            "losses": list(seeds.values()),
            "made": f"Recorded {content['date']} on {content['machine']['chip']}, {protocol['n_weights']:,} weights.",
        },
        table=[
            (f"rate, at a warm-up of {100 * warmup:.0f} %", *(f"batch {size}" for size in axes["batch_size"])),
            *(
                (f"{rate:g}", *(shown.get((rate, warmup, size), "stopped") for size in axes["batch_size"]))
                for rate in axes["learning_rate"]
            ),
        ],
        still="Final validation losses in nats, means over the seeds. Run this cell to choose other settings.",
    )


def _by_setting(content: dict, name: str) -> dict[tuple, list[list[float]]]:
    """(rate, warm-up, batch size) -> the losses of each seed. ValueError: runs lack."""
    axes = content["protocol"]["axes"]
    runs = {tuple(run["setting"]): run["losses"] for run in content["runs"]}
    settings = list(itertools.product(*(axes[axis] for axis in NAMES)))
    if missing := len(settings) * len(axes["seed"]) - len(runs):
        raise ValueError(f"{name} lacks {missing} runs: python -m helpers.labs.training_grid makes them")
    return {setting: [runs[*setting, seed] for seed in axes["seed"]] for setting in settings}

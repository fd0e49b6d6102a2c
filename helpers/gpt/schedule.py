"""The learning rate of every step: up in a straight line, then down along half a cosine. Notebook 04."""

import math
from dataclasses import dataclass

from helpers.gpt.config import is_number, require_number, require_whole


@dataclass(frozen=True)
class Schedule:
    """Warm-up and cosine decay, a function of the step alone, so that a run that goes on needs no state of it.

    peak          the highest learning rate
    n_steps       updates in the whole run; the last is at the lowest rate, if the warm-up leaves room to fall
    warmup_steps  updates of the straight rise: peak / warmup_steps at the first, the peak at the last and once more
    min_lr_ratio  the lowest rate over the peak, in [0, 1]; 1 keeps the rate constant after the warm-up

    ValueError: any of these outside its range.
    Source: Loshchilov & Hutter 2017 (SGDR), section 3; Radford et al. 2018 (GPT), section 4.1.
    """

    peak: float
    n_steps: int
    warmup_steps: int = 0
    min_lr_ratio: float = 0.1

    def __post_init__(self) -> None:
        require_number(**{"the peak learning rate": self.peak})
        require_whole(n_steps=self.n_steps)
        require_whole(at_least=0, warmup_steps=self.warmup_steps)
        if self.warmup_steps > self.n_steps:
            raise ValueError(f"warmup_steps must be at most n_steps, got {self.warmup_steps} and {self.n_steps}")
        if not is_number(self.min_lr_ratio) or not 0 <= self.min_lr_ratio <= 1:
            raise ValueError(f"min_lr_ratio must be in [0, 1], got {self.min_lr_ratio!r}")
        require_number(positive=False, **{"peak x warmup_steps": self.peak * self.warmup_steps})

    def __call__(self, step: int) -> float:
        """Learning rate of update number `step`, counted from 0. ValueError: a step below 0."""
        if not is_number(step) or step < 0:
            raise ValueError(f"steps are counted from 0, got {step!r}")
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        after = max(self.n_steps - 1 - self.warmup_steps, 1)
        done = min((step - self.warmup_steps) / after, 1.0)
        lowest = self.peak * self.min_lr_ratio
        return lowest + (self.peak - lowest) * ((1 + math.cos(math.pi * done)) / 2)  # halved first: a peak may be huge

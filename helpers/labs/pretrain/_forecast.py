"""What a run will hold in memory, said before it begins."""

from __future__ import annotations

import math

import torch

from helpers import runtime
from helpers.labs import budget
from helpers.labs.pretrain._plan import Plan


def forecast(plan: Plan, device: torch.device, n_workers: int = 1) -> budget.Fit | None:
    """The predicted peak of one worker's updates beside what its device has; None: on a device without a prediction.

    n_workers  each takes its share of the batch's rows, and on a CPU its share of the machine's memory
    """
    room = runtime.memory_bytes(device)
    if device.type not in budget.DEVICES or room is None:
        return None
    rows = math.ceil(plan.batch_size / n_workers)
    predicted = budget.memory(
        plan.model,
        min(plan.train.micro_batch_size or rows, rows),
        precision=plan.train.precision,
        gradient_checkpointing=plan.gradient_checkpointing,
        device=device.type,
    )
    return budget.fits(predicted, room if device.type == "cuda" else room // n_workers)

"""All that a run needs to go on as if it had never stopped, and the versions that made it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np
import torch
from torch import Tensor

COURSE = "pretraining-a-gpt"


def current_versions() -> dict[str, str]:
    """Versions of what decides whether a run repeats: Python, torch, numpy, safetensors, the course."""
    installed = {"safetensors": "safetensors", "course": COURSE}
    others = {key: _version(package) for key, package in installed.items()}
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__, **others}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@dataclass
class RunState:
    """A run between two steps. Tensors may lie on any device; the rest is what JSON can say, tuples and NaN included.

    step       optimizer steps done, at least 0
    model      `model.state_dict()`
    optimizer  `optimizer.state_dict()` of any torch optimizer, or None
    schedule   where the learning rate stands
    scaler     `GradScaler.state_dict()`, or None where there is none
    rng        what `capture_rng` gives
    data       where the reading of the data stands
    config     sizes and switches of the model and of the run
    extra      anything else: tokens seen, the best loss
    versions   what wrote it; filled in by itself
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict | None = None
    schedule: dict = field(default_factory=dict)
    scaler: dict | None = None
    rng: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)
    versions: dict = field(default_factory=current_versions)

    def __post_init__(self) -> None:
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 0:
            raise ValueError(f"step must be a whole number of at least 0, got {self.step!r}")
        for name in ("model", "schedule", "rng", "data", "config", "extra", "versions"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be a dict, got {type(getattr(self, name)).__name__}")
        for name in ("optimizer", "scaler"):
            if not isinstance(getattr(self, name), dict | None):
                raise ValueError(f"{name} must be its state_dict or None, got {type(getattr(self, name)).__name__}")

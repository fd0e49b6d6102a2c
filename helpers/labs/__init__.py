"""What single notebooks measure with: texts, metrics, scores, budgets, speed, weights in few bits, a grid, pretrain."""

from helpers.labs import budget, distributed, metrics, pretrain, pretrained, quantise, scores, speed, texts, training_grid

__all__ = [
    "budget", "distributed", "metrics", "pretrain", "pretrained", "quantise", "scores", "speed", "texts",
    "training_grid",
]  # fmt: skip

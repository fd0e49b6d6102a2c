"""What single notebooks measure with: texts, metrics, scores, budgets, speed, a grid of runs, the command pretrain."""

from helpers.labs import budget, distributed, metrics, pretrain, pretrained, scores, speed, texts, training_grid

__all__ = ["budget", "distributed", "metrics", "pretrain", "pretrained", "scores", "speed", "texts", "training_grid"]

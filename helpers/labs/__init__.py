"""What single notebooks measure with: texts, metrics, scores, budgets, speed, and the command that pretrains."""

from helpers.labs import budget, distributed, metrics, pretrain, pretrained, scores, speed, texts

__all__ = ["budget", "distributed", "metrics", "pretrain", "pretrained", "scores", "speed", "texts"]

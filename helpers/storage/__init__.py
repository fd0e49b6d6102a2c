"""Runs and weights on disk: a checkpoint that is verified before it is believed, published weights in and out."""

from helpers.storage import checkpoint, weights

__all__ = ["checkpoint", "weights"]

"""The command line over model, data, training and checkpoints: `python -m helpers.pretrain --help`."""

from helpers.pretrain._command import main
from helpers.pretrain._log import read_lines, read_log
from helpers.pretrain._plan import Plan

__all__ = ["Plan", "main", "read_lines", "read_log"]

"""The command line over model, data, training and checkpoints: `python -m helpers.labs.pretrain --help`."""

from helpers.labs.pretrain._command import main
from helpers.labs.pretrain._log import read_lines, read_log
from helpers.labs.pretrain._plan import Plan

__all__ = ["Plan", "main", "read_lines", "read_log"]

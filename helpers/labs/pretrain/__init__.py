"""The command line over model, data, training and checkpoints: `python -m helpers.labs.pretrain --help`.

To be read in this order: command, plan, run; then stop, ids, checkpoints, log.
"""

from helpers.labs.pretrain import checkpoints, ids, log, plan, run, stop
from helpers.labs.pretrain.command import main
from helpers.labs.pretrain.log import read_lines, read_log
from helpers.labs.pretrain.plan import Plan

__all__ = ["Plan", "checkpoints", "ids", "log", "main", "plan", "read_lines", "read_log", "run", "stop"]

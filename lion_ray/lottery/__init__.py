"""Lottery tickets: masks, pruning, and the rounds that find a ticket.

This package works on tensors only. It imports no Ray, reads no files and knows no images. `lion_ray.trial` calls
`run_rounds`, and `lion_ray.training` applies masks in every optimizer step.
"""

from lion_ray.lottery.controls import random_mask
from lion_ray.lottery.criteria import Sensitivity, scores
from lion_ray.lottery.mask import Mask, PrunedEntries, Weights
from lion_ray.lottery.pruning import prune
from lion_ray.lottery.records import EpochRecord, RoundMetrics, SolverHealth
from lion_ray.lottery.robust import RobustSteps
from lion_ray.lottery.round import (
    WINNING,
    Checkpointer,
    NoCheckpoints,
    Round,
    RoundCheckpoint,
    TrainState,
    control_of,
    cut_off,
)
from lion_ray.lottery.rounds import RoundStore, Trainer, num_rounds, run_rounds, should_stop

__all__ = [
    "WINNING",
    "Checkpointer",
    "EpochRecord",
    "Mask",
    "NoCheckpoints",
    "PrunedEntries",
    "RobustSteps",
    "Round",
    "RoundCheckpoint",
    "RoundMetrics",
    "RoundStore",
    "Sensitivity",
    "SolverHealth",
    "TrainState",
    "Trainer",
    "Weights",
    "control_of",
    "cut_off",
    "num_rounds",
    "prune",
    "random_mask",
    "run_rounds",
    "scores",
    "should_stop",
]

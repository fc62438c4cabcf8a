"""Lottery tickets: masks, pruning, and the rounds that find them. Knows nothing of Ray, files or images."""

from lion_ray.lottery.controls import random_mask
from lion_ray.lottery.criteria import Sensitivity, scores
from lion_ray.lottery.mask import DeadEntries, Mask, Weights
from lion_ray.lottery.pruning import prune
from lion_ray.lottery.records import EpochRecord, RoundMetrics, SolverHealth
from lion_ray.lottery.robust import RobustSteps
from lion_ray.lottery.round import WINNING, Checkpointer, NoCheckpoints, Round, RoundCheckpoint, TrainState, cut_off
from lion_ray.lottery.rounds import RoundStore, Trainer, num_rounds, run_rounds, should_stop

__all__ = [
    "WINNING",
    "Checkpointer",
    "DeadEntries",
    "EpochRecord",
    "Mask",
    "NoCheckpoints",
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
    "cut_off",
    "num_rounds",
    "prune",
    "random_mask",
    "run_rounds",
    "scores",
    "should_stop",
]

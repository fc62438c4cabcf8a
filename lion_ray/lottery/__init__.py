"""Lottery tickets: masks, pruning, and the rounds that find them. Knows nothing of Ray, files or images."""

from lion_ray.lottery.mask import Mask
from lion_ray.lottery.pruning import num_to_prune, prune
from lion_ray.lottery.rounds import Ledger, Round, Trainer, num_rounds, run_rounds, should_stop

__all__ = ["Ledger", "Mask", "Round", "Trainer", "num_rounds", "num_to_prune", "prune", "run_rounds", "should_stop"]

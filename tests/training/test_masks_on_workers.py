"""Masks on several workers: computed once, the same everywhere, and the same as one worker's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import torch

from lion_ray.config import LotteryConfig
from lion_ray.lottery import Checkpointer, Mask, Round, TrainState, run_rounds
from lion_ray.sweep.train_workers import ProcessGroup
from tests.lottery.test_rounds import MemoryRounds, NoisyTrainer, Value

CONFIGS = [
    LotteryConfig(rounds=4, prune=0.4, criterion=criterion, scope=scope)
    for criterion in ("magnitude", "random")
    for scope in ("global", "layer")
]


class SharedRounds(MemoryRounds):
    """Each worker keeps its own rounds; what is to be computed once is computed by worker 0."""

    def __init__(self, workers: ProcessGroup) -> None:
        super().__init__()
        self.once_on_rank_zero = workers.on_rank_zero

    def once(self, make: Callable[[], Value]) -> Value:
        return self.once_on_rank_zero(make)


class AnotherTrainer(NoisyTrainer):
    """On worker 1 the weights are in another order: no ranking of its own could give worker 0's masks."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def train(self, number: int, state: TrainState, mask: Mask, ticket: str, checkpointer: Checkpointer) -> Round:
        if self.rank:
            state = TrainState(weights={name: weight.flip(0) for name, weight in state.weights.items()})
        return super().train(number, state, mask, ticket, checkpointer)


@ray.remote(num_cpus=0)
def masks_of_a_worker(rendezvous: str, rank: int) -> list[list[Mask]]:
    """By config, the weights of both workers first alike and then in another order."""
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    try:
        workers = ProcessGroup(torch.device("cpu"))
        trainers = [(NoisyTrainer(), config) for config in CONFIGS]
        trainers += [(AnotherTrainer(rank), config) for config in CONFIGS]
        runs = (run_rounds(config, trainer, SharedRounds(workers)) for trainer, config in trainers)
        return [[each.mask for each in run] for run in runs]
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("embedded_ray")
def test_two_workers_prune_by_one_mask_which_is_one_workers_where_the_weights_agree(tmp_path: Path) -> None:
    rendezvous = f"file://{tmp_path / 'rendezvous'}"
    zero, one = ray.get([masks_of_a_worker.remote(rendezvous, rank) for rank in (0, 1)])
    alone = [[each.mask for each in run_rounds(config, NoisyTrainer(), MemoryRounds())] for config in CONFIGS]
    for first, second, solo in zip(zero, one, alone * 2, strict=True):  # worker 0 decides, so it is one worker's again
        assert len(first) == len(second) == len(solo) == 4
        for mask, same, expected in zip(first, second, solo, strict=True):
            assert mask.equals(same)
            assert mask.equals(expected)

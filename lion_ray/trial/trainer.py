"""One experiment from start to end. `run_experiment` connects a trainer, the stored rounds and the lottery.

`lion_ray.sweep.trial_body` calls it: in the process of a Tune trial for one worker, and in every worker of a Ray Train
run for several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lion_ray import backbones, methods
from lion_ray.config import RewindEpoch
from lion_ray.experiments import Experiment, protocol
from lion_ray.lottery import (
    WINNING,
    Checkpointer,
    EpochRecord,
    Mask,
    NoCheckpoints,
    Round,
    RoundMetrics,
    TrainState,
    run_rounds,
)
from lion_ray.store import Store
from lion_ray.training import loop, solver_health
from lion_ray.training.feature_cache import FeatureCache
from lion_ray.training.workers import Workers
from lion_ray.trial.measures import ModelWithoutPrompts, accuracies_without_prompts, num_params
from lion_ray.trial.prepared_splits import PreparedSplits
from lion_ray.trial.stored_rounds import StoredRounds

_NO_CHECKPOINTS = NoCheckpoints()


class EpochContext(NamedTuple):
    """The training that an epoch belongs to: the number of the round, its ticket, and the density of its mask."""

    experiment: Experiment
    round: int
    ticket: str
    density: float


OnEpoch = Callable[[EpochContext, EpochRecord], None]


def run_experiment(
    experiment: Experiment,
    dataset: protocol.PhaseData,
    store: Store,
    *,
    backbone: backbones.Backbone,
    workers: Workers,
    device: torch.device,
    on_epoch: OnEpoch,
    features: FeatureCache | None = None,
) -> Iterator[Round]:
    """Yield the rounds of an experiment. Each is read from the store or, if it is absent, trained and stored.

    Args:
        experiment: the experiment.
        dataset: the splits that the experiment's stage opens.
        store: the store of the study.
        backbone: the backbone of the experiment; it is not changed.
        workers: the workers of the experiment.
        device: the training device of this process.
        on_epoch: called on rank 0 with the context of each epoch and its record.
        features: the cache of frozen bodies' features, which several experiments may share; None makes a new one.
    """
    trainer = RoundTrainer(
        experiment, dataset, backbone, workers=workers, device=device, on_epoch=on_epoch, features=features
    )
    stored_rounds = StoredRounds(experiment, store, backbone=backbone, workers=workers, classes=dataset.classes)
    lottery = experiment.lottery.model_copy(update={"controls": experiment.controls})
    yield from run_rounds(lottery, trainer, stored_rounds)


class RoundTrainer:
    """Trains the rounds of one experiment (`lottery.Trainer`). The arguments are those of `run_experiment`."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: protocol.PhaseData,
        backbone: backbones.Backbone,
        *,
        workers: Workers,
        device: torch.device,
        on_epoch: OnEpoch,
        features: FeatureCache | None = None,
    ) -> None:
        self._experiment, self._backbone, self._workers, self._on_epoch = experiment, backbone, workers, on_epoch
        self._num_classes = len(dataset.classes)
        self.model = self._build("start").to(device)
        cache = FeatureCache() if features is None else features
        self._splits = PreparedSplits(
            experiment, dataset, self.model, backbone.transform, workers=workers, device=device, features=cache
        )
        by_count = experiment.stage is not None and experiment.stage.by_count
        train = protocol.training_splits(dataset).train
        self._count_groups = protocol.count_groups(train, self._num_classes) if by_count else {}
        self._step_module = workers.wrap(methods.step_module(self.model))
        self._start = self.model.copy_trained()

    @cached_property
    def _without_prompts(self) -> ModelWithoutPrompts | None:
        return self._splits.without_prompts()

    def seed_for(self, purpose: str) -> int:
        """The seed of the experiment for one purpose."""
        return self._experiment.seed_for(purpose)

    def start(self, purpose: str = "start") -> Mapping[str, Tensor]:
        """The trained weights at initialisation. Another purpose than `start` draws other weights."""
        return self._start if purpose == "start" else self._build(purpose).copy_trained()

    def prunable(self) -> tuple[str, ...]:
        """The names of the prunable weights."""
        return self.model.prunable()

    def train(
        self,
        number: int,
        state: TrainState,
        mask: Mask,
        ticket: str = WINNING,
        checkpointer: Checkpointer = _NO_CHECKPOINTS,
    ) -> Round:
        """Train one round, then evaluate it on test, with LION's prompts and without them. A search trial has no test.

        Args:
            number: the number of the round.
            state: the state to start from, with pruned weights 0.
            mask: the mask of the round.
            ticket: `WINNING` or the name of a control.
            checkpointer: the round continues from its checkpoint, if there is one.

        Raises:
            TrainingDiverged: the loss or a trained weight is not finite.
        """
        fitted = loop.fit(
            self.model,
            self._step_module,
            (self._splits.train, self._splits.val),
            self._experiment.train,
            state=state,
            mask=mask,
            keep=self._kept_states(number, state, ticket),
            checkpointer=checkpointer,
            seed_for=self._experiment.seed_for,
            workers=self._workers,
            on_epoch=lambda record: self._epoch_done(number, ticket, mask, record),
        )
        test_accuracy, by_count, test_health = self._test()
        healths = [health for record in fitted.history for health in (record.health, record.evaluation_health)]
        trained = self.model.copy_trained()
        if not all(bool(weight.isfinite().all()) for weight in trained.values()):
            raise loop.TrainingDiverged(f"round {number} ends with weights that are not finite; lower train.lr")
        without_prompts = accuracies_without_prompts(self._without_prompts, self._experiment.train, self._workers)
        metrics = RoundMetrics(
            density=mask.density,
            **num_params(trained, mask, self.model.acting()),
            without_path=tuple(self.model.without_path()),
            val_accuracy=fitted.history[-1].val_accuracy,
            test_accuracy=test_accuracy,
            test_accuracy_by_count=by_count,
            val_accuracy_without_prompts=without_prompts[0],
            test_accuracy_without_prompts=without_prompts[1],
            solves=solver_health.summary([*healths, test_health]),
            history=tuple(fitted.history),
        )
        return Round(
            number=number,
            weights=trained,
            mask=mask,
            metrics=metrics,
            ticket=ticket,
            state=fitted.state,
            scores=fitted.scores,
        )

    def _test(self) -> tuple[float | None, dict[str, float | None], dict[str, float]]:
        """The test accuracy, the accuracy on each of the count groups (empty without them), and the solver health."""
        if self._splits.test is None:
            return None, {}, {}
        test, config = self._splits.test, self._experiment.train
        correct, health = loop.correctly_classified(self.model, test, config, self._workers)
        by_count: dict[str, float | None] = {}
        for name, classes in self._count_groups.items():
            rows = torch.isin(test.labels, torch.as_tensor(classes, device=correct.device))
            by_count[name] = int(correct[rows].sum()) / int(rows.sum()) if rows.any() else None
        return int(correct.sum()) / len(correct), by_count, health

    def _build(self, purpose: str) -> methods.AdaptedModel:
        seed = self._experiment.seed_for(purpose)
        return methods.build(self._experiment.method, self._backbone, num_classes=self._num_classes, seed=seed)

    def _kept_states(self, number: int, state: TrainState, ticket: str) -> loop.KeptStates:
        """The states and scores that later rounds need of a round. Nothing is kept of a control."""
        lottery, epochs = self._experiment.lottery, self._experiment.train.epochs
        if ticket != WINNING or not self.prunable():
            return loop.KeptStates()
        after = (state.epoch // epochs + 1) * epochs if lottery.rewind == "none" else None
        if isinstance(lottery.rewind, RewindEpoch) and number == 0:
            after = lottery.rewind.epoch
        return loop.KeptStates(state_after=after, scores=lottery.criterion == "gradient_weight")

    def _epoch_done(self, number: int, ticket: str, mask: Mask, record: EpochRecord) -> None:
        if self._workers.is_rank_zero:
            self._on_epoch(EpochContext(self._experiment, number, ticket, mask.density), record)

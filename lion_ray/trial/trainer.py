"""One experiment from start to end: the model that trains rounds, the store that keeps them, the lottery between them.

Called in a Tune trial's process for one worker, in every worker of a Train run for more (`distributed`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lion_ray import backbones, methods
from lion_ray.config import RewindEpoch
from lion_ray.data import JoinedSplit, Split
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
from lion_ray.training.batches import Examples, keeps_features, prepare
from lion_ray.training.feature_cache import FEATURES, numeric_key
from lion_ray.training.workers import Workers
from lion_ray.trial.measures import SwitchedOff, accuracies_without_prompts, num_params
from lion_ray.trial.stored_rounds import StoredRounds

_NO_CHECKPOINTS, TEST = NoCheckpoints(), "test"


class EpochOf(NamedTuple):
    """Which training an epoch belongs to: the round's number, its ticket, the share of prunable weights alive."""

    experiment: Experiment
    round: int
    ticket: str
    density: float


OnEpoch = Callable[[EpochOf, EpochRecord], None]


def run_experiment(
    experiment: Experiment,
    dataset: protocol.PhaseData,
    store: Store,
    *,
    backbone: backbones.Backbone,
    workers: Workers,
    device: torch.device,
    on_epoch: OnEpoch,
) -> Iterator[Round]:
    """Yield the experiment's rounds, trained now or found in the store.

    Args:
        backbone: the experiment's; it is not changed.
        on_epoch: called on worker 0 with the training that an epoch belongs to, and the epoch's record.
    """
    trainer = RoundTrainer(experiment, dataset, backbone, workers=workers, device=device, on_epoch=on_epoch)
    stored_rounds = StoredRounds(experiment, store, backbone=backbone, workers=workers, classes=dataset.classes)
    lottery = experiment.lottery.model_copy(update={"controls": experiment.controls})
    yield from run_rounds(lottery, trainer, stored_rounds)


class RoundTrainer:
    """Trains rounds of one experiment (`lottery.Trainer`)."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: protocol.PhaseData,
        backbone: backbones.Backbone,
        *,
        workers: Workers,
        device: torch.device,
        on_epoch: OnEpoch,
    ) -> None:
        self._experiment, self._backbone, self._workers, self._on_epoch = experiment, backbone, workers, on_epoch
        self._num_classes = len(dataset.classes)
        self.model = self._build("start").to(device)
        splits = protocol.training_splits(dataset)
        test = protocol.final_split(dataset)
        if test is None:  # nor may what another experiment left in this process be reached
            FEATURES.forget(TEST)
        name = "train+val" if isinstance(splits.train, JoinedSplit) else "train"
        self._train = self._prepared(name, splits.train, device, augment=experiment.train.augment)
        self._val = None if splits.val is None else self._prepared("val", splits.val, device)
        self._test = None if test is None else self._prepared(TEST, test, device)
        self._splits, self._device = {"val": splits.val, TEST: test}, device
        by_count = experiment.stage is not None and experiment.stage.by_count
        self._count_groups = protocol.count_groups(splits.train, self._num_classes) if by_count else {}
        self._step_module = workers.wrap(methods.step_module(self.model))
        self._start = self.model.copy_trained()

    def _prepared(
        self,
        name: str,
        split: Split,
        device: torch.device,
        augment: str = "none",
        model: methods.AdaptedModel | None = None,
    ) -> Examples:
        """A split as the trained part reads it; fixed features are those of data, transform and weights alone."""
        model = model or self.model

        def make() -> Examples:
            return prepare(model, split, self._backbone.transform, device, augment=augment)

        def found() -> Examples:
            split.prepare()
            if not keeps_features(model, split, augment):
                return make()
            identity = [self._experiment.identity[part] for part in ("dataset", "transform", "backbone")]
            key = (json.dumps(identity, sort_keys=True), model.body.maps, numeric_key(device))
            return FEATURES.get(name, key, make)

        return self._workers.on_every_rank(found)

    @cached_property
    def _switched_off(self) -> SwitchedOff | None:
        """What is read at a round's end to tell what its prompts do; None for a method whose prompts cannot be off.

        Made when the first round has ended, behind its own test figure: until then nothing reads the test split.
        """
        model = self.model.without_prompts()
        if model is None:
            return None
        own = {"val": self._val, TEST: self._test}
        if not self.model.features_are_fixed:
            own = {
                name: None if split is None else self._prepared(name, split, self._device, model=model)
                for name, split in self._splits.items()
            }
        return SwitchedOff(model=model, val=own["val"], test=own[TEST])

    def seed_for(self, purpose: str) -> int:
        """The experiment's."""
        return self._experiment.seed_for(purpose)

    def start(self, purpose: str = "start") -> Mapping[str, Tensor]:
        """The weights at initialisation, drawn anew for another purpose."""
        return self._start if purpose == "start" else self._build(purpose).copy_trained()

    def prunable(self) -> tuple[str, ...]:
        """The method's prunable weights."""
        return self.model.prunable()

    def train(
        self,
        number: int,
        state: TrainState,
        mask: Mask,
        ticket: str = WINNING,
        checkpointer: Checkpointer = _NO_CHECKPOINTS,
    ) -> Round:
        """Train, then read the test split, if there is one: once, and once more with LION's prompts switched off.

        The round's metrics hold no clock time.
        """
        fitted = loop.fit(
            self.model,
            self._step_module,
            (self._train, self._val),
            self._experiment.train,
            state=state,
            mask=mask,
            keep=self._keep(number, state, ticket),
            checkpointer=checkpointer,
            seed_for=self._experiment.seed_for,
            workers=self._workers,
            on_epoch=lambda record: self._epoch_done(number, ticket, mask, record),
        )
        tested, by_count, health = self._tested()
        healths = [health for record in fitted.history for health in (record.health, record.evaluation_health)]
        trained = self.model.copy_trained()
        if not all(bool(weight.isfinite().all()) for weight in trained.values()):
            raise loop.TrainingDiverged(f"round {number} ends with weights that are not finite; lower train.lr")
        val_off, test_off = accuracies_without_prompts(self._switched_off, self._experiment.train, self._workers)
        metrics = RoundMetrics(
            density=mask.density,
            **num_params(trained, mask, self.model.acting()),
            without_path=tuple(self.model.without_path()),
            val_accuracy=fitted.history[-1].val_accuracy,
            test_accuracy=tested,
            test_accuracy_by_count=by_count,
            val_accuracy_without_prompts=val_off,
            test_accuracy_without_prompts=test_off,
            solves=solver_health.summary([*healths, health]),
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

    def _tested(self) -> tuple[float | None, dict[str, float | None], dict[str, float]]:
        """Test accuracy, with a long tail also over the images of many-, medium- and few-shot classes, and health."""
        if self._test is None:
            return None, {}, {}
        correct, health = loop.hits(self.model, self._test, self._experiment.train, self._workers)
        by_count: dict[str, float | None] = {}
        for name, classes in self._count_groups.items():
            rows = torch.isin(self._test.labels, torch.as_tensor(classes, device=correct.device))
            by_count[name] = int(correct[rows].sum()) / int(rows.sum()) if rows.any() else None
        return int(correct.sum()) / len(correct), by_count, health

    def _build(self, purpose: str) -> methods.AdaptedModel:
        seed = self._experiment.seed_for(purpose)
        return methods.build(self._experiment.method, self._backbone, num_classes=self._num_classes, seed=seed)

    def _keep(self, number: int, state: TrainState, ticket: str) -> loop.KeptStates:
        """What later rounds will start from and be pruned by, by the lottery's settings; nothing follows a control."""
        lottery, epochs = self._experiment.lottery, self._experiment.train.epochs
        if ticket != WINNING or not self.prunable():
            return loop.KeptStates()
        after = (state.epoch // epochs + 1) * epochs if lottery.rewind == "none" else None
        if isinstance(lottery.rewind, RewindEpoch) and number == 0:
            after = lottery.rewind.epoch
        return loop.KeptStates(state_after=after, scores=lottery.criterion == "gradient_weight")

    def _epoch_done(self, number: int, ticket: str, mask: Mask, record: EpochRecord) -> None:
        if self._workers.is_rank_zero:
            self._on_epoch(EpochOf(self._experiment, number, ticket, mask.density), record)

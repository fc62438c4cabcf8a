"""The splits that an experiment may see, as the trained part of its model reads them.

`trainer` makes one set per experiment and process. Features of a frozen body are computed once per process and shared
by every experiment that would compute the same bits.
"""

from __future__ import annotations

import json

import torch

from lion_ray.backbones import Transform
from lion_ray.data import JoinedSplit, Split
from lion_ray.experiments import Experiment, protocol
from lion_ray.methods import AdaptedModel
from lion_ray.training.batches import Examples, keeps_features, prepare
from lion_ray.training.feature_cache import FEATURES, numeric_key
from lion_ray.training.workers import Workers
from lion_ray.trial.measures import SwitchedOff

TEST = "test"


class PreparedSplits:
    """`train`, `val` and `test` of one experiment; val and test are None where its stage may not see them.

    Args:
        dataset: the splits that the experiment's stage opens.
        model: the experiment's, on `device`.
        transform: the backbone's.
        workers: all of them prepare, so that all raise what one of them meets.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: protocol.PhaseData,
        model: AdaptedModel,
        transform: Transform,
        *,
        workers: Workers,
        device: torch.device,
    ) -> None:
        self._experiment, self._model, self._transform = experiment, model, transform
        self._workers, self._device = workers, device
        opened, test = protocol.training_splits(dataset), protocol.final_split(dataset)
        if test is None:  # nor may what another experiment left in this process be reached
            FEATURES.forget(TEST)
        self._evaluated = {"val": opened.val, TEST: test}
        name = "train+val" if isinstance(opened.train, JoinedSplit) else "train"
        self.train = self._prepare(name, opened.train, model, augment=experiment.train.augment)
        self.val, self.test = self._prepare_evaluated(model)

    def without_prompts(self) -> SwitchedOff | None:
        """The model with its prompts switched off, and val and test as it reads them; None if they cannot be off.

        `trainer` asks when the first round has ended, behind its own test figure: until then nothing reads test.
        """
        model = self._model.without_prompts()
        if model is None:
            return None
        reads_the_same = self._model.features_are_fixed
        val, test = (self.val, self.test) if reads_the_same else self._prepare_evaluated(model)
        return SwitchedOff(model=model, val=val, test=test)

    def _prepare_evaluated(self, model: AdaptedModel) -> tuple[Examples | None, Examples | None]:
        """Val and test."""
        val, test = (
            None if split is None else self._prepare(name, split, model) for name, split in self._evaluated.items()
        )
        return val, test

    def _prepare(self, name: str, split: Split, model: AdaptedModel, augment: str = "none") -> Examples:
        """One split; fixed features are those of data, transform and weights alone."""

        def make() -> Examples:
            return prepare(model, split, self._transform, self._device, augment=augment)

        def found() -> Examples:
            split.prepare()
            if not keeps_features(model, split, augment):
                return make()
            identity = [self._experiment.identity[part] for part in ("dataset", "transform", "backbone")]
            key = (json.dumps(identity, sort_keys=True), model.body.maps, numeric_key(self._device))
            return FEATURES.get(name, key, make)

        return self._workers.on_every_rank(found)

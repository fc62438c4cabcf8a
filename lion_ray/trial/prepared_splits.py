"""The splits that an experiment may see, prepared for the trained part of its model.

`lion_ray.trial.trainer` makes one set per experiment and process. Features of a frozen body come from a
`FeatureCache`, and all experiments that would compute the same bits share them.
"""

from __future__ import annotations

import json

import torch

from lion_ray.backbones import Transform
from lion_ray.data import JoinedSplit, Split
from lion_ray.experiments import Experiment, protocol
from lion_ray.methods import AdaptedModel
from lion_ray.training.batches import Examples, keeps_features, prepare
from lion_ray.training.feature_cache import FeatureCache, numeric_key
from lion_ray.training.workers import Workers
from lion_ray.trial.measures import ModelWithoutPrompts

TEST = "test"


class PreparedSplits:
    """`train`, `val` and `test` of one experiment. `val` and `test` are None if its stage may not see them.

    Args:
        experiment: the experiment.
        dataset: the splits that the experiment's stage opens.
        model: the model of the experiment, on `device`.
        transform: the transform of the backbone.
        workers: the workers of the experiment. Each prepares the splits, and all raise the error of any of them.
        device: the training device.
        features: the cache of the features of frozen bodies.
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
        features: FeatureCache,
    ) -> None:
        self._features = features
        self._experiment, self._model, self._transform = experiment, model, transform
        self._workers, self._device = workers, device
        splits, test = protocol.training_splits(dataset), protocol.final_split(dataset)
        if test is None:  # cached test features of another experiment must not be reached either
            self._features.forget(TEST)
        self._evaluated = {"val": splits.val, TEST: test}
        name = "train+val" if isinstance(splits.train, JoinedSplit) else "train"
        self.train = self._prepare(name, splits.train, model, augment=experiment.train.augment)
        self.val, self.test = self._prepare_evaluated(model)

    def without_prompts(self) -> ModelWithoutPrompts | None:
        """The model with its prompts switched off and its examples; None for a method without such prompts.

        `RoundTrainer` calls this after it has evaluated the first round on test, so nothing reads test earlier.
        """
        model = self._model.without_prompts()
        if model is None:
            return None
        reads_the_same = self._model.features_are_fixed
        val, test = (self.val, self.test) if reads_the_same else self._prepare_evaluated(model)
        return ModelWithoutPrompts(model=model, val=val, test=test)

    def _prepare_evaluated(self, model: AdaptedModel) -> tuple[Examples | None, Examples | None]:
        """The val and the test examples."""
        val, test = (
            None if split is None else self._prepare(name, split, model) for name, split in self._evaluated.items()
        )
        return val, test

    def _prepare(self, name: str, split: Split, model: AdaptedModel, augment: str = "none") -> Examples:
        """The examples of one split, from the cache if its features depend on data, transform and weights only."""

        def make() -> Examples:
            return prepare(model, split, self._transform, self._device, augment=augment)

        def cached_or_made() -> Examples:
            split.prepare()
            if not keeps_features(model, split, augment):
                return make()
            identity = [self._experiment.identity[part] for part in ("dataset", "transform", "backbone")]
            key = (json.dumps(identity, sort_keys=True), model.body.maps, numeric_key(self._device))
            return self._features.get(name, key, make)

        return self._workers.on_every_rank(cached_or_made)

"""Small real experiments for tests that need no Ray."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch

from lion_ray import backbones, config, data, methods
from lion_ray.backbones import Backbone
from lion_ray.data import Dataset
from lion_ray.experiments import Experiment, expand
from lion_ray.lottery import Round
from lion_ray.store import Store
from lion_ray.training.feature_cache import FeatureCache
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.trainer import OnEpoch, run_experiment


def in_here(make_backbone: Callable[[], Backbone]) -> methods.Trials:
    """Methods are tried in this process, on what `make_backbone` gives."""
    return lambda configs: methods.outcomes(configs, make_backbone)


def experiment(study_file: Path, *overrides: str) -> Experiment:
    """The LION experiment of the tiny study."""
    return expand(config.load(study_file, ["methods=[lion]", *overrides]))[0]


def decoded(experiment: Experiment) -> Dataset:
    """Its images."""
    return _decoded(experiment.dataset, backbones.load(experiment.backbone).transform)


@functools.lru_cache
def _decoded(dataset: config.DatasetConfig, transform: backbones.Transform) -> Dataset:
    return data.find(dataset).decode(size=transform.size, interpolation=transform.interpolation)


FEATURES = FeatureCache()


def run(
    experiment: Experiment, store: Store, on_epoch: OnEpoch = lambda *_: None, features: FeatureCache = FEATURES
) -> list[Round]:
    """All its rounds in this process."""
    rounds = run_experiment(
        experiment,
        decoded(experiment),
        store,
        backbone=backbones.load(experiment.backbone),
        workers=SingleWorker(),
        device=torch.device("cpu"),
        on_epoch=on_epoch,
        features=features,
    )
    return list(rounds)


def artifacts(store: Store) -> dict[str, bytes]:
    """Every committed file: what must be the same bits in every repetition."""
    return {f"{key}/{name}": file for key in store.committed() for name, file in (store.load(key) or {}).items()}

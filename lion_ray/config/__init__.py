"""The study file: typed, frozen, strict. One bad line gives one clear message and exit status 2.

`study` holds the sections as values, `reading` turns a file into them. Every other room receives these values.
"""

from lion_ray.config.reading import StudyError, load, nearest, validate
from lion_ray.config.study import (
    BackboneConfig,
    DatasetConfig,
    Frozen,
    LotteryConfig,
    MethodConfig,
    ResourcesConfig,
    Study,
    TrainConfig,
)

__all__ = [
    "BackboneConfig",
    "DatasetConfig",
    "Frozen",
    "LotteryConfig",
    "MethodConfig",
    "ResourcesConfig",
    "Study",
    "StudyError",
    "TrainConfig",
    "load",
    "nearest",
    "validate",
]

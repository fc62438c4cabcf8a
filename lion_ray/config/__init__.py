"""The study file: typed, frozen, strict. One bad line gives one clear message and exit status 2.

`study` holds the sections as values, `reading` turns a file into them. Every other room receives these values.
"""

from lion_ray.config.base import Frozen
from lion_ray.config.data import MODIFIERS, DataConfig, DatasetConfig, ImbalanceConfig, LabelNoiseConfig
from lion_ray.config.lottery import Control, LotteryConfig, OneShot, RewindEpoch, RobustConfig
from lion_ray.config.protocol import ProtocolConfig
from lion_ray.config.reading import StudyError, load, nearest, validate
from lion_ray.config.resources import ResourcesConfig, WorkersRange
from lion_ray.config.scheduler import BudgetConfig, SchedulerConfig
from lion_ray.config.sections import sections_of
from lion_ray.config.study import LARGEST_IMAGE, BackboneConfig, MethodConfig, Study, TrainConfig

__all__ = [
    "LARGEST_IMAGE",
    "MODIFIERS",
    "BackboneConfig",
    "BudgetConfig",
    "Control",
    "DataConfig",
    "DatasetConfig",
    "Frozen",
    "ImbalanceConfig",
    "LabelNoiseConfig",
    "LotteryConfig",
    "MethodConfig",
    "OneShot",
    "ProtocolConfig",
    "ResourcesConfig",
    "RewindEpoch",
    "RobustConfig",
    "SchedulerConfig",
    "Study",
    "StudyError",
    "TrainConfig",
    "WorkersRange",
    "load",
    "nearest",
    "sections_of",
    "validate",
]

"""The study file as typed, immutable values.

`study` defines the sections, and `reading` loads a file into them. The command-line entry points call `load`; every
other package receives the values. A wrong line in the file raises a `StudyError` with a message of one line, and the
entry points then exit with status 2.
"""

from lion_ray.config.base import Frozen, Json
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
    "Json",
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

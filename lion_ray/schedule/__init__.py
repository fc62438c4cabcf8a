"""The order in which experiments train, and the decisions which of them continue after a round.

`lion_ray.sweep` hands a `TrainingOrder` to Ray Tune. Only `lion_ray.schedule.rules` imports Ray, and only for Tune's
schedulers.
"""

from lion_ray.schedule.order import TrainingOrder
from lion_ray.schedule.stopping import ExperimentState, OnStop

__all__ = ["ExperimentState", "OnStop", "TrainingOrder"]

"""Which experiment trains when, who goes on to the next round and who is stopped. `tuning` alone knows Ray."""

from lion_ray.schedule.order import TrainingOrder
from lion_ray.schedule.stopping import ExperimentState, OnStop

__all__ = ["ExperimentState", "OnStop", "TrainingOrder"]

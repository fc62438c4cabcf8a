"""Which experiment trains when, who goes on to the next round and who is stopped. `tuning` alone knows Ray."""

from lion_ray.schedule.stopping import ExperimentState, OnStop
from lion_ray.schedule.turns import TrainingOrder

__all__ = ["ExperimentState", "OnStop", "TrainingOrder"]

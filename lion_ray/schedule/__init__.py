"""Which experiment trains when, who goes on to the next round and who is stopped. `tuning` alone knows Ray."""

from lion_ray.schedule.stopping import OnStop, Seat
from lion_ray.schedule.turns import Turns

__all__ = ["OnStop", "Seat", "Turns"]

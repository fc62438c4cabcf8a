"""lion_ray: LION implicit vision prompt tuning and its lottery tickets, on Ray."""

__version__ = "0.1.0"

"""From finished artifacts to tables. Never trains, never imports Ray."""

from lion_ray.report.listing import tickets
from lion_ray.report.tables import rows, text_tables, write

__all__ = ["rows", "text_tables", "tickets", "write"]

"""Reports: tables, plots and one HTML page from the finished artifacts of studies. Nothing is trained here.

`tables` is called at the end of a run, `page` also by `lion-ray report`, `comparison` by `lion-ray compare`, `lottery`
by `lion-ray evidence`, and `listing` by `lion_ray.tickets` and `lion-ray tickets`.
"""

from lion_ray.report.listing import tickets
from lion_ray.report.tables import rows, text_tables, write

__all__ = ["rows", "text_tables", "tickets", "write"]

"""What a study's store holds of its experiments: finished rounds, read and verified once, then kept in an index.

`planning` asks `survey`; `ledger` and the report take the names of keys and the rows from here.
"""

from lion_ray.results.index import indexed, renew, survey
from lion_ray.results.record import Row, read_record
from lion_ray.results.rounds import (
    CLOCK,
    Found,
    OtherRevisionWarning,
    metrics_of,
    of_today,
    record_of,
    round_key,
    val_accuracies,
)

__all__ = [
    "CLOCK",
    "Found",
    "OtherRevisionWarning",
    "Row",
    "indexed",
    "metrics_of",
    "of_today",
    "read_record",
    "record_of",
    "renew",
    "round_key",
    "survey",
    "val_accuracies",
]

"""The experiments of a study, each with a readable name and a hash of everything that changes its result.

`expand` makes all experiments that a study file names. `final_run` makes the runs that follow a search after its
setting is chosen. `lion_ray.study`, `lion_ray.schedule`, `lion_ray.trial` and `lion_ray.sweep` work on these values.
"""

from lion_ray.experiments.expanding import expand, stage_of
from lion_ray.experiments.experiment import ComparisonGroup, Experiment, Setting, final_run
from lion_ray.experiments.identity import FIRST_EDITION, edition, identity_digest, identity_of
from lion_ray.experiments.labels import dataset_label, dataset_labels, entry_label, method_label, text_of
from lion_ray.experiments.revisions import is_current
from lion_ray.experiments.settings import applied

__all__ = [
    "FIRST_EDITION",
    "ComparisonGroup",
    "Experiment",
    "Setting",
    "applied",
    "dataset_label",
    "dataset_labels",
    "edition",
    "entry_label",
    "expand",
    "final_run",
    "identity_digest",
    "identity_of",
    "is_current",
    "method_label",
    "stage_of",
    "text_of",
]

"""What is to be trained: a study's experiments, each with a readable name and a pinned hash of what changes its result.

`expand` makes all that a study file names; `final_run` is what follows from a search, once its setting is chosen.
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

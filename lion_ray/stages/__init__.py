"""From a search to its final runs: the setting of each dataset and method is chosen once all its trials are over.

    choices/<dataset>-<method>-<hash>.json    what was chosen and why, written before anything follows from it
    choices/diverged/<experiment>.json        a search trial whose loss is no number: that is its result

Each group, one dataset and one method entry, goes on by itself. `pipeline` plans with `Stages`, `sweep` asks
`Following` while trials end. Both read the store, so a study that was killed chooses what it would have chosen.
"""

from lion_ray.stages.choices import Choice, Trial, choose, record_divergence
from lion_ray.stages.following import Following
from lion_ray.stages.groups import Group, Stages

__all__ = ["Choice", "Following", "Group", "Stages", "Trial", "choose", "record_divergence"]

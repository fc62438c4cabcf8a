"""The datasets of a sweep, each decoded once into the object store of Ray, where all trials share it without a copy."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from lion_ray import backbones, data
from lion_ray.config import DatasetConfig, Study
from lion_ray.experiments import Experiment
from lion_ray.sweep import cluster
from lion_ray.sweep.trial_inputs import SharedDataset, shared


def decode(
    pending: Sequence[Experiment], study: Study, transform: backbones.Transform, source: str
) -> dict[DatasetConfig, SharedDataset]:
    """The datasets of the experiments, decoded into the object store up to `data.memory_gb` (see `SplitStorage`).

    There their arrays are read-only and shared by all trials of a node.

    Raises:
        StudyError: an image cannot be decoded, of all that is kept in memory or mapped on this node.
    """
    identities = {experiment.dataset: experiment.identity for experiment in pending}
    sources = {config: data.find(config, study.data, source=source) for config in identities}
    num_bytes = {
        (config, split): 3 * transform.size**2 * len(sources[config].chosen(split)[1])
        for split in ("train", "val", "test")
        for config in sources
    }
    memory_gb = study.data.memory_gb
    kept = data.fit_in_memory(num_bytes, cluster.object_store_bytes() / 2 if memory_gb is None else memory_gb * 1e9)
    decoded = {}
    for config, identity in identities.items():
        storage = data.SplitStorage(
            in_memory=frozenset(split for own, split in kept if own == config),
            cache=study.data.cache and os.path.abspath(os.path.expanduser(study.data.cache)),  # trials work elsewhere
            identity=json.dumps([identity["dataset"], identity["transform"]], sort_keys=True),
        )
        dataset = sources[config].decode(
            size=transform.size,
            interpolation=transform.interpolation,
            crop_fraction=transform.crop_fraction,
            storage=storage,
        )
        if cluster.works_here(study.resources):
            dataset.train.prepare()
        decoded[config] = shared(dataset)
    return decoded

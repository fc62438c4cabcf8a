"""Expansion of a study into its experiments: dataset x backbone x method x seed.

With a protocol that searches, the experiments are the trials of the search. The command-line entry points and
`lion_ray.study` call `expand`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from lion_ray import backbones, data
from lion_ray.config import (
    BackboneConfig,
    DataConfig,
    DatasetConfig,
    Json,
    LotteryConfig,
    MethodConfig,
    Study,
    StudyError,
    TrainConfig,
)
from lion_ray.experiments.experiment import NOT_IN_IDENTITY, Experiment, Setting, config_of, experiment_name
from lion_ray.experiments.identity import identity_digest, identity_of
from lion_ray.experiments.labels import dataset_label, dataset_labels, entry_label
from lion_ray.experiments.protocol import SEARCH, Stage, final_stage
from lion_ray.experiments.revisions import revisions_of
from lion_ray.experiments.settings import applied, sections, settings_of
from lion_ray.methods import METHODS, options_of

EntryUnderSetting = tuple[Setting, MethodConfig, TrainConfig, LotteryConfig]
"""A setting of a search (empty without one), and the method entry with its sections under this setting."""


def expand(
    study: Study,
    backbone: backbones.Resolved | None = None,
    *,
    source: str = "study",
    on_note: Callable[[str], None] = lambda note: None,
) -> list[Experiment]:
    """All experiments that a study file names, in the order in which they start: by seed, then by method and dataset.

    With a protocol that searches they are the trials of its search. `lion_ray.study.search_groups` adds the final
    runs that follow.

    Args:
        study: the study.
        backbone: the resolved backbone; None loads the one that the study names.
        source: the study file, for messages.
        on_note: called with each remark on how a dataset was read and which part of its source was not used.

    Raises:
        StudyError: a dataset, method or backbone is unknown, an option is wrong, or an experiment occurs twice.
    """
    resolved = backbone or backbones.load(study.backbone, source=source)
    entries = [entry for index in range(len(study.methods)) for entry in _entries(study, index, source)]
    identities = {config: _identity(config, study.data, source, on_note) for config in study.datasets}
    stage = stage_of(study)
    trainings = [_training_identity(*entry[1:], study.backbone, stage) for entry in entries]
    subjects = [
        (entry, dataset, {**training, **_content_identity(identities[dataset], resolved)})
        for (entry, training), dataset in itertools.product(zip(entries, trainings, strict=True), study.datasets)
    ]
    seeds = study.seeds[:1] if stage is SEARCH else study.seeds
    experiments = []
    labels, digests = dataset_labels(study.datasets), _distinguishing_digests(identities)
    for seed, ((setting, method, train, lottery), dataset, shared) in itertools.product(seeds, subjects):
        identity = {**shared, "seed": seed}
        digest = identity_digest(identity)
        which = "search" if stage is SEARCH else f"s{seed}"
        experiment = Experiment(
            name=experiment_name(dataset, study.backbone, method, which, digest),
            digest=digest,
            identity=identity,
            dataset=dataset,
            backbone=study.backbone,
            method=method,
            seed=seed,
            train=train,
            lottery=lottery,
            stage=stage,
            setting=setting,
            label_in_study=labels[dataset],
            content=digests[dataset],
        )
        experiments.append(experiment)
    names = [experiment.name for experiment in experiments]
    duplicate = next((name for name, times in Counter(names).items() if times > 1), None)
    if duplicate:
        raise StudyError(source, "datasets, methods, seeds", f"the same experiment stands there twice: {duplicate}")
    _check_scheduler(study, experiments, source)
    return experiments


def stage_of(study: Study) -> Stage | None:
    """The stage of the experiments that a study file names; None without a protocol."""
    if study.protocol is None:
        return None
    return SEARCH if study.protocol.searches else final_stage(study.protocol.name)


def _entries(study: Study, index: int, source: str) -> Iterator[EntryUnderSetting]:
    """The method entry `index` as the study trains it: once, or under each setting of its search."""
    method, protocol = study.methods[index], study.protocol
    if protocol is None or not protocol.searches:
        if method.search is not None:
            raise StudyError(source, f"methods.{index}.search", "is read by a protocol that searches, such as vtab1k")
        train, lottery = sections(study, index, source)
        if protocol is not None and lottery.tolerance is not None:
            raise StudyError(source, "lottery.tolerance", "stops early, and final runs have no stopping rule")
        yield {}, method, train, lottery
        return
    sections(study, index, source)  # raises the errors of the entry itself, before those of its settings
    twins = [place for place, other in enumerate(study.methods) if entry_label(other) == entry_label(method)]
    if len(twins) > 1:
        problem = f"'{entry_label(method)}' names two entries: give one a label"
        raise StudyError(source, f"methods.{twins[-1]}", problem)
    for setting in settings_of(study, index, source=source):
        yield setting, *applied(study, index, setting, source=source)


def _check_scheduler(study: Study, experiments: list[Experiment], source: str) -> None:
    """Raise a `StudyError` if the scheduler could never stop an experiment of this study."""
    most_rounds = max(each.num_rounds for each in experiments)
    num_competitors = max(Counter(each.peers for each in experiments).values())
    idle = study.scheduler.reason_it_never_stops(most_rounds, num_competitors)
    if study.scheduler.compares and study.protocol and not study.protocol.searches:
        idle = "final runs have no stopping rule"
    if idle:
        raise StudyError(source, "scheduler", f"{idle}; use scheduler: none")


def _distinguishing_digests(identities: Mapping[DatasetConfig, Json]) -> dict[DatasetConfig, str]:
    """The first 8 digits of each dataset's digest where only URLs distinguish it from another one; otherwise empty."""
    requests = {config: config.model_dump_json(exclude={"url"}, exclude_defaults=True) for config in identities}
    counts = Counter(requests.values())
    return {
        config: identity_digest(identity)[:8] if counts[requests[config]] > 1 else ""
        for config, identity in identities.items()
    }


def _identity(config: DatasetConfig, section: DataConfig, source: str, on_note: Callable[[str], None]) -> Json:
    dataset = data.find(config, section, source=source)
    if len(dataset.classes) < 2:
        raise StudyError(source, f"datasets.{config.name}", "has one class only: there is nothing to tell apart")
    dataset.warn_of_faults()
    for note in (*dataset.notes, dataset.counts_note):
        on_note(f"{dataset_label(config)}: {note}")
    return dataset.identity()


def _content_identity(dataset: Json, backbone: backbones.Resolved | backbones.Backbone) -> Json:
    """The part of an identity that names dataset, transform and backbone by their content."""
    return {
        "dataset": dict(dataset),
        "transform": dataclasses.asdict(backbone.transform),
        "backbone": {"name": backbone.name, "weights": backbone.weights_digest},
    }


def _training_identity(
    method: MethodConfig, train: TrainConfig, lottery: LotteryConfig, backbone: BackboneConfig, stage: Stage | None
) -> Json:
    """The part of an identity that holds method, training, pruning and stage, with the revisions of their code."""
    identity: dict[str, object] = {
        "method": {"name": method.name, **identity_of(options_of(method))},
        "train": identity_of(train),
    }
    if METHODS[method.name].is_prunable:
        identity["lottery"] = identity_of(lottery, exclude=NOT_IN_IDENTITY)
    if stage is not None:
        identity["stage"] = stage.identity()
    revisions = revisions_of(config_of(method, train, lottery, backbone))
    return {**identity, "revision": revisions} if revisions else identity

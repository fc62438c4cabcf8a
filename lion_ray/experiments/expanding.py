"""From a study to its experiments: dataset x backbone x method x seed, or with a protocol the trials of its search."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lion_ray import backbones, data
from lion_ray.config import (
    BackboneConfig,
    DataConfig,
    DatasetConfig,
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

Run = tuple[Setting, MethodConfig, TrainConfig, LotteryConfig]


def expand(
    study: Study,
    backbone: backbones.Resolved | None = None,
    *,
    source: str = "study",
    on_note: Callable[[str], None] = lambda note: None,
) -> list[Experiment]:
    """All experiments that a study file names, in the order in which they start: seed by seed, method by method.

    With a protocol that searches they are the trials of its search; `stages` knows what follows from them.

    Args:
        backbone: what the study's section stands for; None asks its origin.
        on_note: called with each line on how a dataset was read, and what of its source was not used.

    Raises:
        StudyError: an unknown dataset, method or backbone, a wrong option, or the same experiment twice.
    """
    known = backbone or backbones.load(study.backbone, source=source)
    runs = [run for index in range(len(study.methods)) for run in _runs(study, index, source)]
    identities = {config: _identity(config, study.data, source, on_note) for config in study.datasets}
    stage = stage_of(study)
    hows = [_how(*run[1:], study.backbone, stage) for run in runs]
    subjects = [
        (run, dataset, {**how, **_what(identities[dataset], known)})
        for (run, how), dataset in itertools.product(zip(runs, hows, strict=True), study.datasets)
    ]
    seeds = study.seeds[:1] if stage is SEARCH else study.seeds
    experiments = []
    labels, contents = dataset_labels(study.datasets), _contents(identities)
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
            told_as=labels[dataset],
            content=contents[dataset],
        )
        experiments.append(experiment)
    names = [experiment.name for experiment in experiments]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice:
        raise StudyError(source, "datasets, methods, seeds", f"the same experiment stands there twice: {twice}")
    _check_scheduler(study, experiments, source)
    return experiments


def stage_of(study: Study) -> Stage | None:
    """What the experiments that a study file names are for."""
    if study.protocol is None:
        return None
    return SEARCH if study.protocol.searches else final_stage(study.protocol.name)


def _runs(study: Study, index: int, source: str) -> Iterator[Run]:
    """Entry `index` of the methods as the study trains it: once, or under each setting of its search."""
    method, protocol = study.methods[index], study.protocol
    if protocol is None or not protocol.searches:
        if method.search is not None:
            raise StudyError(source, f"methods.{index}.search", "is read by a protocol that searches, such as vtab1k")
        train, lottery = sections(study, index, source)
        if protocol is not None and lottery.tolerance is not None:
            raise StudyError(source, "lottery.tolerance", "stops early, and final runs have no stopping rule")
        yield {}, method, train, lottery
        return
    sections(study, index, source)  # what is wrong with the entry itself, in its own words
    twins = [place for place, other in enumerate(study.methods) if entry_label(other) == entry_label(method)]
    if len(twins) > 1:
        problem = f"'{entry_label(method)}' names two entries: give one a label"
        raise StudyError(source, f"methods.{twins[-1]}", problem)
    for setting in settings_of(study, index, source=source):
        yield setting, *applied(study, index, setting, source=source)


def _check_scheduler(study: Study, experiments: list[Experiment], source: str) -> None:
    """Refuse one that could stop nobody."""
    most_rounds = max(each.num_rounds for each in experiments)
    num_competitors = max(Counter(each.peers for each in experiments).values())
    idle = study.scheduler.reason_it_never_stops(most_rounds, num_competitors)
    if study.scheduler.compares and study.protocol and not study.protocol.searches:
        idle = "final runs have no stopping rule"
    if idle:
        raise StudyError(source, "scheduler", f"{idle}; use scheduler: none")


def _contents(identities: Mapping[DatasetConfig, Mapping[str, Any]]) -> dict[DatasetConfig, str]:
    """The beginning of each dataset's digest, empty where the words that ask for it are those of no other."""
    words = {config: config.model_dump_json(exclude={"url"}, exclude_defaults=True) for config in identities}
    shared = Counter(words.values())
    return {
        config: identity_digest(identity)[:8] if shared[words[config]] > 1 else ""
        for config, identity in identities.items()
    }


def _identity(
    config: DatasetConfig, where: DataConfig, source: str, on_note: Callable[[str], None]
) -> Mapping[str, Any]:
    found = data.find(config, where, source=source)
    if len(found.classes) < 2:
        raise StudyError(source, f"datasets.{config.name}", "has one class only: there is nothing to tell apart")
    found.warn_of_faults()
    for note in found.notes:
        on_note(f"{dataset_label(config)}: {note}")
    return found.identity()


def _what(dataset: Mapping[str, Any], backbone: backbones.Resolved | backbones.Backbone) -> dict[str, Any]:
    """The part of an identity that says what is trained on what: all by content."""
    return {
        "dataset": dict(dataset),
        "transform": dataclasses.asdict(backbone.transform),
        "backbone": {"name": backbone.name, "weights": backbone.weights_digest},
    }


def _how(
    method: MethodConfig, train: TrainConfig, lottery: LotteryConfig, backbone: BackboneConfig, stage: Stage | None
) -> dict[str, Any]:
    """The part of an identity that says how, all but the seed, with the revisions of the code that does it."""
    found: dict[str, Any] = {
        "method": {"name": method.name, **identity_of(options_of(method))},
        "train": identity_of(train),
    }
    if METHODS[method.name].is_prunable:
        found["lottery"] = identity_of(lottery, exclude=NOT_IN_IDENTITY)
    if stage is not None:
        found["stage"] = stage.identity()
    revisions = revisions_of(config_of(method, train, lottery, backbone))
    return {**found, "revision": revisions} if revisions else found

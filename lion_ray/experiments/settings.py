"""The settings that a search tries, and a method entry under one setting.

The settings are a grid or draws from a search space. A draw is a hash of the axis, the first seed and the number of the
draw, so draws are the same for every dataset and on every machine, and a smaller number of samples is the beginning of
a larger one. `lion_ray.experiments.expanding` calls it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from typing import Any, cast

from lion_ray.config import Json, LotteryConfig, MethodConfig, Study, StudyError, TrainConfig, sections_of
from lion_ray.experiments.experiment import NOT_IN_IDENTITY, Setting
from lion_ray.experiments.labels import entry_label, text_of
from lion_ray.methods import METHODS, options_of

# The ranges of VPT (tune_vtab.py: prompt, finetune). The rates belong to a batch of 256 images.
RATES = {"sgd": (50.0, 25.0, 10.0, 5.0, 2.5, 1.0, 0.5, 0.25, 0.1, 0.05), "adam": (0.005, 0.001, 0.0005, 0.0001)}
DECAYS = (0.01, 0.001, 0.0001, 0.0)
SECTIONS = ("train", "lottery")
EntrySections = tuple[MethodConfig, TrainConfig, LotteryConfig]


def settings_of(study: Study, index: int, *, source: str = "study") -> list[Setting]:
    """The settings that the search tries for one method entry, in the order in which their trials start.

    Args:
        study: a study with a protocol that searches.
        index: the position of the entry in `study.methods`.
        source: the study file, for messages.

    Raises:
        StudyError: an axis is a range and `samples` is not given, or a key is not a setting.
    """
    assert study.protocol is not None
    own, samples = study.methods[index].search, study.protocol.samples
    space = own or study.protocol.search or _default_space(sections(study, index, source)[0])
    key = f"methods.{index}.search" if own else "protocol.search"
    if wrong := next((name for name in space if name in {f"lottery.{each}" for each in NOT_IN_IDENTITY}), None):
        raise StudyError(source, f"{key}.{wrong}", "says how long a search goes on and is no setting")
    if samples is not None:
        drawn = [_drawn(space, study.seeds[0], number) for number in range(samples)]
        return [setting for number, setting in enumerate(drawn) if setting not in drawn[:number]]
    if wrong := next((name for name, axis in space.items() if isinstance(axis, dict) and "choice" not in axis), None):
        raise StudyError(source, f"{key}.{wrong}", "a range has no grid: give protocol.samples, or a list of values")
    return [
        dict(zip(space, values, strict=True))
        for values in itertools.product(*(_axis(axis)[1] for axis in space.values()))
    ]


def applied(study: Study, index: int, setting: Setting, *, source: str = "study") -> EntrySections:
    """One method entry under a setting: the entry itself and its `train` and `lottery` sections.

    Args:
        study: the study.
        index: the position of the entry in `study.methods`.
        setting: values by key, such as `train.lr`.
        source: the study file, for messages.

    Raises:
        StudyError: the method has no such key, or a value is not allowed.
    """
    method = study.methods[index]
    raw = {**method.model_dump(mode="json", exclude_unset=True, exclude={"search"}), "label": entry_label(method)}
    for section in SECTIONS:
        raw[section] = {**getattr(study, section).model_dump(mode="json", exclude_unset=True), **raw.get(section, {})}
    for key, value in setting.items():
        raw = _placed(raw, key.split("."), value)
    if not METHODS[method.name].is_prunable:
        raw["lottery"] = {}
    entry = MethodConfig.model_validate(raw)
    others = tuple(entry if place == index else other for place, other in enumerate(study.methods))
    try:
        return entry, *sections(study.model_copy(update={"methods": others}), index, source)
    except StudyError as error:
        problem = f"{entry_label(method)} cannot take {text_of(setting, sort=False)}: {': '.join(error.args[1:])}"
        if method.search is not None:
            raise StudyError(source, f"methods.{index}.search", problem) from error
        raise StudyError(source, "protocol.search", f"{problem}; an entry's own search replaces this one") from error


def sections(study: Study, index: int, source: str) -> tuple[TrainConfig, LotteryConfig]:
    """The `train` and `lottery` sections of one method entry, checked against what the method supports.

    Args:
        study: the study.
        index: the position of the entry in `study.methods`.
        source: the study file, for messages.

    Raises:
        StudyError: a value is not allowed, or the method does not support it.
    """
    method, key = study.methods[index], f"methods.{index}"
    options = options_of(method, source=source, key=key)
    if objection := METHODS[method.name].objection(options):
        option, problem = objection
        raise StudyError(source, f"{key}.{option}", problem)
    train, lottery = sections_of(study, index, source=source)
    twins = [place for place, other in enumerate(study.methods) if entry_label(other) == entry_label(method)]
    labelled = [place for place in twins if study.methods[place].label]
    if len(twins) > 1 and labelled and index == max(labelled):
        raise StudyError(source, f"{key}.label", f"'{method.label}' names two entries")
    if not METHODS[method.name].is_prunable:
        if train.robust:
            reason = f"robust training ranks prunable weights, '{method.name}' has none; set it in other entries only"
            raise StudyError(source, f"{key}.train.robust", reason)
        if method.lottery:
            raise StudyError(source, f"{key}.lottery", f"'{method.name}' has nothing to prune: it trains once")
    return train, lottery


def _default_space(train: TrainConfig) -> Json:
    rates = RATES["sgd" if train.optimizer == "sgd" else "adam"]
    return {"train.lr": [rate * train.batch_size / 256 for rate in rates], "train.weight_decay": list(DECAYS)}


def _axis(axis: object) -> tuple[str, list[Any]]:
    """The kind of an axis of a search space (`choice`, `uniform` or `loguniform`), and its values or bounds."""
    return next(iter(axis.items())) if isinstance(axis, dict) else ("choice", list(cast("list[object]", axis)))


def _drawn(space: Json, seed: int, number: int) -> Setting:
    return {key: _value(axis, _uniform([key, axis, seed, number])) for key, axis in space.items()}


def _uniform(purpose: list[object]) -> float:
    """A number in [0, 1) with 53 random bits, from the hash of `purpose`."""
    digest = hashlib.sha256(json.dumps(purpose, sort_keys=True).encode()).hexdigest()
    return (int(digest[:16], 16) >> 11) / 2**53


def _value(axis: object, place: float) -> object:
    """The value of an axis at `place`, a number in [0, 1)."""
    kind, values = _axis(axis)
    if kind == "choice":
        chosen: object = values[int(place * len(values))]
        return chosen
    low, high = values
    value = low + place * (high - low) if kind == "uniform" else low * math.exp(place * math.log(high / low))
    return float(f"{value:.6g}")  # six digits, as in a study file


def _placed(raw: Json, path: list[str], value: object) -> dict[str, object]:
    if len(path) == 1:
        return {**raw, path[0]: value}
    inner = raw.get(path[0])
    return {**raw, path[0]: _placed(inner if isinstance(inner, dict) else {}, path[1:], value)}

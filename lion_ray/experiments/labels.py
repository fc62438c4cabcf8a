"""What people call datasets, method entries and settings, in tables and while a sweep runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lion_ray.config import DatasetConfig, MethodConfig
from lion_ray.methods import options_of
from lion_ray.store import redacted

WHERE_AND_HOW = {"name", "url", "format", "image_column", "label_column"}  # a dataset is read, not what is asked of it


def dataset_label(dataset: DatasetConfig) -> str:
    """A dataset alone and what was asked of it: `mnist`, `mnist(num_train=20)` or `mnist(shots=5, seed=1)`."""
    asked = dataset.model_dump(mode="json", exclude_defaults=True, exclude=WHERE_AND_HOW)
    return f"{dataset.name}({text_of(asked, sort=False)})" if asked else dataset.name


def dataset_labels(datasets: Iterable[DatasetConfig]) -> dict[DatasetConfig, str]:
    """A label for each of several datasets, unique among them: its `dataset_label` where no other has the same.

    Otherwise what tells them apart is added: format, columns, the last part of the URL, and at last a number. No path
    of a machine and no credential gets into a label.
    """
    listed = list(dict.fromkeys(datasets))
    labels = {each: dataset_label(each) for each in listed}
    for tell in (*(_option(name) for name in ("format", "image_column", "label_column")), _place, _number(listed)):
        shared = Counter(labels.values())
        for label in [label for label, num in shared.items() if num > 1]:
            group = [each for each in listed if labels[each] == label]
            told = [tell(each) for each in group]
            if len(set(told)) > 1:
                labels |= {each: f"{label}[{text}]" for each, text in zip(group, told, strict=True)}
    return labels


def _option(name: str) -> Callable[[DatasetConfig], str]:
    return lambda dataset: f"{name}={getattr(dataset, name) or 'default'}"


def _place(dataset: DatasetConfig) -> str:
    """The last part of its URL, where it has one."""
    last = redacted(dataset.url or "package").rstrip("/").rpartition("/")[2]
    return last.partition("?")[0] or "url"


def _number(datasets: list[DatasetConfig]) -> Callable[[DatasetConfig], str]:
    return lambda dataset: f"no. {1 + datasets.index(dataset)}"


def method_label(method: MethodConfig) -> str:
    """A method and the options that differ from their defaults: `lion` or `lion(output=false)`."""
    options = options_of(method).model_dump(mode="json", exclude_defaults=True)
    return f"{method.name}({text_of(options)})" if options else method.name


def entry_label(method: MethodConfig) -> str:
    """What tables call a method entry: its `label`, or the method with all that the entry says."""
    if method.label:
        return method.label
    replaced = {name: section for name, section in (("train", method.train), ("lottery", method.lottery)) if section}
    return method_label(method) + (text_of(replaced) and f"[{text_of(replaced)}]")


def text_of(options: Mapping[str, Any], *, sort: bool = True) -> str:
    """`{"a": 1}` as `a=1`."""
    text = json.dumps(options, sort_keys=sort).replace('"', "").replace(": ", "=")
    return text[1:-1]

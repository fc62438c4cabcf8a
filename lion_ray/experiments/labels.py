"""Labels of datasets, method entries and settings for tables, messages and the progress display.

`lion_ray.report`, `lion_ray.sweep` and `lion_ray.cli` show them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable

from lion_ray.config import DatasetConfig, Json, MethodConfig
from lion_ray.methods import options_of
from lion_ray.store import redacted

WHERE_AND_HOW = {
    "name",
    "url",
    "format",
    "image_column",
    "label_column",
}  # these keys say how a dataset is read; all others modify it


def dataset_label(dataset: DatasetConfig) -> str:
    """The name of a dataset and its modifications: `mnist`, `mnist(num_train=20)` or `mnist(shots=5, seed=1)`."""
    asked = dataset.model_dump(mode="json", exclude_defaults=True, exclude=WHERE_AND_HOW)
    return f"{dataset.name}({text_of(asked, sort=False)})" if asked else dataset.name


def dataset_labels(datasets: Iterable[DatasetConfig]) -> dict[DatasetConfig, str]:
    """A label for each of several datasets, unique among them: its `dataset_label` if no other dataset has the same.

    Otherwise a distinguishing property is added: the format, a column, the last part of the URL, and finally a number.
    A label never contains a full path or a credential.
    """
    listed = list(dict.fromkeys(datasets))
    labels = {each: dataset_label(each) for each in listed}
    for describe in (*(_option(name) for name in ("format", "image_column", "label_column")), _place, _number(listed)):
        shared = Counter(labels.values())
        for label in [label for label, num in shared.items() if num > 1]:
            group = [each for each in listed if labels[each] == label]
            texts = [describe(each) for each in group]
            if len(set(texts)) > 1:
                labels |= {each: f"{label}[{text}]" for each, text in zip(group, texts, strict=True)}
    return labels


def _option(name: str) -> Callable[[DatasetConfig], str]:
    return lambda dataset: f"{name}={getattr(dataset, name) or 'default'}"


def _place(dataset: DatasetConfig) -> str:
    """The last part of the dataset's URL, without query and credentials; `package` for a dataset without URL."""
    last = redacted(dataset.url or "package").rstrip("/").rpartition("/")[2]
    return last.partition("?")[0] or "url"


def _number(datasets: list[DatasetConfig]) -> Callable[[DatasetConfig], str]:
    return lambda dataset: f"no. {1 + datasets.index(dataset)}"


def method_label(method: MethodConfig) -> str:
    """The name of a method and the options that differ from their defaults: `lion` or `lion(output=false)`."""
    options = options_of(method).model_dump(mode="json", exclude_defaults=True)
    return f"{method.name}({text_of(options)})" if options else method.name


def entry_label(method: MethodConfig) -> str:
    """The label of a method entry: its `label`, or the method's label and the keys that the entry replaces."""
    if method.label:
        return method.label
    replaced = {name: section for name, section in (("train", method.train), ("lottery", method.lottery)) if section}
    return method_label(method) + (text_of(replaced) and f"[{text_of(replaced)}]")


def text_of(options: Json, *, sort: bool = True) -> str:
    """The text of a JSON object for people: `{"a": 1}` becomes `a=1`. `sort` orders it by key."""
    text = json.dumps(options, sort_keys=sort).replace('"', "").replace(": ", "=")
    return text[1:-1]

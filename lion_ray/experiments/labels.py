"""What people call datasets, method entries and settings, in tables and while a sweep runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lion_ray.config import DatasetConfig, MethodConfig
from lion_ray.methods import options_of

WHERE_AND_HOW = {"name", "url", "format", "image_column", "label_column"}  # a dataset is read, not what is asked of it


def dataset_label(dataset: DatasetConfig) -> str:
    """A dataset and what was asked of it: `mnist`, `mnist(num_train=20)` or `mnist(shots=5, seed=1)`."""
    asked = dataset.model_dump(mode="json", exclude_defaults=True, exclude=WHERE_AND_HOW)
    return f"{dataset.name}({text_of(asked, sort=False)})" if asked else dataset.name


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

"""Measurements of an epoch and of a round, as values. `result.json` and `partial.safetensors` hold them as JSON.

`lion_ray.training` makes epoch records, `lion_ray.trial` makes the metrics of a round, `lion_ray.study` reads both
back, and `lion_ray.report` shows them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

NUM_PARAMS = ("num_params", "num_params_without_classifier")
BY_COUNT = "test_accuracy_"  # the prefix of `many`, `medium` and `few` in JSON
StoredFields = Mapping[str, Any]
"""A JSON object that an earlier run may have stored. Its values are not checked."""


class EpochRecord(NamedTuple):
    """The measurements of one epoch.

    `epoch` counts from 0 in each round. `loss` is the mean over the training images. Accuracies are shares (0 to 1);
    `val_accuracy` is None without a val split. `health` holds the solver figures of training under the names of
    `AdaptedModel.health`, and `evaluation_health` those of the evaluation on val.
    """

    epoch: int
    loss: float
    train_accuracy: float
    health: Mapping[str, float]
    val_accuracy: float | None
    evaluation_health: Mapping[str, float]

    @classmethod
    def from_json(cls, fields: StoredFields) -> EpochRecord:
        """The record whose `_asdict` was stored. Figures that earlier versions did not store are None or empty."""
        return cls(
            fields["epoch"],
            fields["loss"],
            fields["train_accuracy"],
            fields.get("health", {}),
            fields.get("val_accuracy"),
            fields.get("evaluation_health", {}),
        )


class SolverHealth(NamedTuple):
    """The convergence of all equilibrium solves of a round, in training and in evaluation.

    `num` counts the solves. `share_unconverged` is the share that missed the tolerance, and `num_nonfinite` counts
    those among them with NaN or infinite values. `residual_max` is the largest finite residual.
    """

    num: int
    share_unconverged: float
    num_nonfinite: int
    residual_max: float


NO_SOLVES = SolverHealth(num=0, share_unconverged=0.0, num_nonfinite=0, residual_max=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundMetrics:
    """The measurements of a finished round. They hold no clock time, so every repetition gives the same bits.

    Accuracies are shares (0 to 1) after the last epoch, and None if the round may not see the split. `num_params`
    counts the surviving trained parameters; `num_acting_params` counts only those on a path from input to output.
    `without_path` names the prompts without such a path. `test_accuracy_by_count` holds the accuracies on the classes
    with many, medium and few training images; it is empty except for the protocol `longtail`. The figures
    `..._without_prompts` are measured with LION's prompts switched off.
    """

    density: float
    num_params: int
    num_params_without_classifier: int
    num_acting_params: int
    num_acting_params_without_classifier: int
    without_path: tuple[str, ...] = ()
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    test_accuracy_by_count: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    val_accuracy_without_prompts: float | None = None
    test_accuracy_without_prompts: float | None = None
    solves: SolverHealth = NO_SOLVES
    history: tuple[EpochRecord, ...] = ()

    def as_json(self, *, with_history: bool = True) -> dict[str, object]:
        """The fields as `result.json` holds them, with or without the epoch records. `from_json` reads them back."""
        fields: dict[str, object] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["test_accuracy_by_count"]
        fields |= {f"{BY_COUNT}{classes}": accuracy for classes, accuracy in self.test_accuracy_by_count.items()}
        fields |= {"without_path": list(self.without_path), "solves": self.solves._asdict()}
        if with_history:
            return fields | {"history": [record._asdict() for record in self.history]}
        del fields["history"]
        return fields

    @classmethod
    def from_json(cls, fields: StoredFields) -> RoundMetrics:
        """Read back the fields of `as_json`.

        Some rounds were stored before acting parameters were counted. In those all surviving parameters act.
        """
        known = _METRICS & fields.keys()  # a plan of 10,000 experiments reads 50,000 records: nothing is derived twice
        by_count = {key: fields[key] for key in fields.keys() - _METRICS if key.startswith(BY_COUNT)}
        acting = {name.replace("num_", "num_acting_"): fields[name] for name in NUM_PARAMS}
        return cls(
            **{
                **acting,
                **{name: fields[name] for name in known},
                "without_path": tuple(fields.get("without_path", ())),
                "test_accuracy_by_count": {key.removeprefix(BY_COUNT): value for key, value in by_count.items()},
                "solves": SolverHealth(**{"num_nonfinite": 0, **fields["solves"]}),
                "history": tuple(EpochRecord.from_json(each) for each in fields["history"]),
            }
        )


_METRICS = frozenset(field.name for field in dataclasses.fields(RoundMetrics))

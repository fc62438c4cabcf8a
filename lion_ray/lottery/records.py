"""What is measured of an epoch and of a round, as values; `result.json` and `partial.safetensors` hold them as JSON.

`training` makes epoch records, `trial` the metrics of a round, `study` reads them back, `report` shows them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

NUM_PARAMS = ("num_params", "num_params_without_classifier")
BY_COUNT = "test_accuracy_"  # before `many`, `medium` and `few`


class EpochRecord(NamedTuple):
    """What one epoch measured.

    `epoch` counts from 0 in its round, `loss` is the mean over the training images, accuracies are shares (0 to 1), and
    None where there is no val split. `health` holds the figures of the training solves as `AdaptedModel.health` names
    them, `evaluation_health` those of the evaluation on val.
    """

    epoch: int
    loss: float
    train_accuracy: float
    health: Mapping[str, float]
    val_accuracy: float | None
    evaluation_health: Mapping[str, float]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> EpochRecord:
        """The record that `_asdict` was stored of; what earlier versions did not measure is None or empty."""
        return cls(
            epoch=fields["epoch"],
            loss=fields["loss"],
            train_accuracy=fields["train_accuracy"],
            health=fields.get("health", {}),
            val_accuracy=fields.get("val_accuracy"),
            evaluation_health=fields.get("evaluation_health", {}),
        )


class SolverHealth(NamedTuple):
    """Whether a round's equilibria were reached: over all its solves, of training and of evaluation.

    `share_unconverged` of the `num` solves missed their tolerance, `num_nonfinite` among those; `residual_max` is the
    worst finite residual.
    """

    num: int
    share_unconverged: float
    num_nonfinite: int
    residual_max: float


NO_SOLVES = SolverHealth(num=0, share_unconverged=0.0, num_nonfinite=0, residual_max=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundMetrics:
    """What a finished round measured; it holds no clock time, so that it has the same bits in every repetition.

    Accuracies are shares (0 to 1) after the last epoch; None where the round may not see the split. The counts of
    parameters are those that survive; `acting` counts only those on a path from input to output. `without_path` names
    prompts that no path leads through. `test_accuracy_by_count` is over the test images of many-, medium- and few-shot
    classes, empty but for a long tail. `..._without_prompts` is measured with LION's prompts switched off.
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

    def as_json(self, *, with_history: bool = True) -> dict[str, Any]:
        """The fields as `result.json` holds them; `from_json` reads them back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        by_count = fields.pop("test_accuracy_by_count")
        fields |= {f"{BY_COUNT}{classes}": accuracy for classes, accuracy in by_count.items()}
        fields |= {"without_path": list(self.without_path), "solves": self.solves._asdict()}
        if with_history:
            return fields | {"history": [record._asdict() for record in self.history]}
        del fields["history"]
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RoundMetrics:
        """The metrics that `as_json` gave.

        Rounds of methods that nothing can cut off may have been stored before acting parameters were counted: there all
        act.
        """
        known = {field.name for field in dataclasses.fields(cls)} & fields.keys()
        by_count = {key: value for key, value in fields.items() if key.startswith(BY_COUNT) and key not in known}
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

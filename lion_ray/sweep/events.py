"""What trials and the driver say of a sweep while it runs. The mailbox carries these, `monitor` acts on them.

The mailbox's process imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochDone:
    """An epoch of a round, or of a control beside it, has ended.

    `experiment` is its name, `epoch` counts from 0 in the round, `val_accuracy` (0 to 1) is None without a val split,
    `density` is the share of prunable weights that are alive, `seconds` is the epoch's wall time, and
    `share_unconverged` the largest share of equilibrium solves that missed their tolerance.
    """

    experiment: str
    round: int
    ticket: str
    epoch: int
    loss: float
    val_accuracy: float | None
    density: float
    seconds: float
    share_unconverged: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentStopped:
    """An experiment trains no further; `how` says in words what ended it."""

    experiment: str
    how: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentFailed:
    """An experiment cannot be finished; the sweep goes on without it."""

    experiment: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinalRunsAdmitted:
    """A setting is chosen: its final runs (a list of experiments, wrapped by `mailbox.wrap`) replace stand-ins."""

    wrapped_runs: list[Any]
    stand_ins: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepFailed:
    """The whole sweep has to end with this error: no repetition of the trial would help."""

    error: Exception


@dataclasses.dataclass(frozen=True, kw_only=True)
class StorageOutage:
    """The storage does not answer at the moment; `line` says since when and for how long it is waited for."""

    line: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warned:
    """A line that a person should read once."""

    line: str


Event: TypeAlias = (
    EpochDone | ExperimentStopped | ExperimentFailed | FinalRunsAdmitted | SweepFailed | StorageOutage | Warned
)

"""The `train` and `lottery` sections of one method entry: those of the study with the keys that the entry replaces.

`lion_ray.experiments` calls `sections_of` for every entry before it computes an identity, so a contradictory
combination of keys is refused first.
"""

from __future__ import annotations

from typing import TypeVar

from lion_ray.config.base import Frozen, Json
from lion_ray.config.lottery import LotteryConfig, RewindEpoch
from lion_ray.config.reading import StudyError, validate
from lion_ray.config.study import Study, TrainConfig

Section = TypeVar("Section", bound=Frozen)


def sections_of(study: Study, index: int, *, source: str = "study") -> tuple[TrainConfig, LotteryConfig]:
    """The `train` and `lottery` sections that hold for one method entry.

    Args:
        study: the study.
        index: the position of the entry in `study.methods`.
        source: the study file, for messages.

    Raises:
        StudyError: a key or value is not allowed, or two of them contradict each other.
    """
    method, key = study.methods[index], f"methods.{index}"
    train = _merged(study.train, method.train, source, f"{key}.train")
    lottery = _merged(study.lottery, method.lottery, source, f"{key}.lottery")
    wrong = _contradiction(train, lottery) or _ignored_key(lottery, study.scheduler.name)
    if wrong:
        raise StudyError(source, f"{key}.{wrong[0]}" if method.train or method.lottery else wrong[0], wrong[1])
    return train, lottery


def _merged(section: Section, replaced: Json, source: str, key: str) -> Section:
    raw = {**section.model_dump(mode="json", exclude_unset=True), **replaced}
    return validate(type(section), raw, source=source, key=key) if replaced else section


def _ignored_key(lottery: LotteryConfig, scheduler: str) -> tuple[str, str] | None:
    """The key of the lottery's stopping rule and the problem, if another scheduler decides."""
    if lottery.tolerance is not None and scheduler != "lottery":
        return "lottery.tolerance", f"is the rule of scheduler: lottery, but the scheduler is {scheduler}"
    return None


def _contradiction(train: TrainConfig, lottery: LotteryConfig) -> tuple[str, str] | None:
    """The key and the problem, if the two sections contradict each other."""
    first = lottery.rewind.epoch if isinstance(lottery.rewind, RewindEpoch) else 0
    if first >= train.epochs:
        return "lottery.rewind", f"epoch {first} leaves nothing to retrain of train.epochs: {train.epochs}"
    if lottery.rewind == "none" and lottery.rounds > 1 and train.schedule == "cosine":
        return "lottery.rewind", (
            "none trains on at the schedule's last rate, and cosine ends at 0; "
            "use train.schedule: constant, or rewind: learning_rate"
        )
    if train.robust and train.robust.warmup_epochs >= train.epochs - first:
        return "train.robust", (
            f"warmup_epochs ({train.robust.warmup_epochs}) must be below the {train.epochs - first} epochs of a round"
        )
    return None

"""What search trials came to, the setting that is chosen of them, and both in the store. The rule is `choose` alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.experiments import Experiment
from lion_ray.store import Store, layout, signed
from lion_ray.study.decisions import BUDGET, LOTTERY


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What a search trial came to: the last-epoch validation accuracy of each of its rounds, and who ended it early."""

    experiment: Experiment
    accuracies: Sequence[float]
    ended_by: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether somebody else ended it: it may not be chosen. The lottery's own rule only says where it ends."""
        return self.ended_by not in (None, LOTTERY) and len(self.accuracies) < self.experiment.num_rounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The trial whose setting is trained in the final runs, for so many rounds; `accuracy` is that of `compared`."""

    trial: str
    setting: Mapping[str, Any]
    rounds: int
    compared: int
    accuracy: float
    finals: tuple[tuple[int, str, str], ...] = ()  # seed, name and digest of each run


def choose(trials: Sequence[Trial]) -> Choice | None:
    """The best last-epoch validation accuracy in the last round that all have which nobody cut; of equals the smallest
    learning rate, then the first. None if all were cut, or a budget ended one: then the search is not done.
    """
    left = [trial for trial in trials if trial.accuracies and not trial.is_cut]
    if not left or any(trial.is_cut and trial.ended_by == BUDGET for trial in trials):
        return None
    last = min(len(trial.accuracies) for trial in left) - 1
    best = min(left, key=lambda trial: (-trial.accuracies[last], trial.experiment.train.lr))
    return Choice(
        trial=best.experiment.name,
        setting=best.experiment.setting,
        rounds=len(best.accuracies),
        compared=last,
        accuracy=best.accuracies[last],
    )


def record_divergence(store: Store, experiment: Experiment, reason: str) -> None:
    """Write down that a search trial's setting does not train: no repetition would change it."""
    store.write(layout.diverged(experiment.name), json.dumps({"reason": reason}).encode())


def has_diverged(store: Store, experiment: Experiment) -> bool:
    """Whether that is written down of one trial."""
    return store.read(layout.diverged(experiment.name)) is not None


def diverged(store: Store) -> set[str]:
    """The names of all that have."""
    return {path.rpartition("/")[2].removesuffix(".json") for path in store.listing(layout.DIVERGED)}


def read(store: Store, path: str) -> Choice | None:
    """The choice on record; none, with a warning, if it is damaged."""

    def parsed(fields: dict[str, Any]) -> Choice:
        finals = tuple((int(seed), str(name), str(digest)) for seed, name, digest in fields.pop("finals"))
        return Choice(**fields, finals=finals)

    return signed.read(store, path, parsed)


def write(store: Store, path: str, choice: Choice) -> None:
    """Put a choice on record."""
    signed.write(store, path, dataclasses.asdict(choice))

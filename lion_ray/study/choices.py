"""The results of search trials, the setting that is chosen from them, and how both are stored.

`choose` is the whole rule. `lion_ray.study.search_groups` applies it, `lion_ray.schedule.following` builds
`SearchTrial` values while a sweep runs, and `lion_ray.sweep.trial_body` records trials that diverge.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from lion_ray.experiments import Experiment, Setting
from lion_ray.store import Store, layout, signed
from lion_ray.study.decisions import BUDGET, LOTTERY


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """The results of one search trial.

    `accuracies` holds the last-epoch validation accuracy, 0 to 1, of each finished round. `ended_by` names the
    scheduler, or the budget, that ended the trial before its last round; it is None if none did.
    """

    experiment: Experiment
    accuracies: Sequence[float]
    ended_by: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether a scheduler or a budget cut the trial short, so that it may not be chosen.

        The lottery's own stopping rule does not count: it only says where the trial ends.
        """
        return self.ended_by not in (None, LOTTERY) and len(self.accuracies) < self.experiment.num_rounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The setting that was chosen for one dataset and method entry, as it is stored.

    `trial` is the name of the winning trial, and `setting` holds the keys and values that it tried. The final runs
    train `rounds` rounds. `accuracy` is the winner's in round `compared`, in which the trials were compared. `finals`
    holds the seed, the name and the digest of each final run.
    """

    trial: str
    setting: Setting
    rounds: int
    compared: int
    accuracy: float
    finals: tuple[tuple[int, str, str], ...] = ()


def choose(trials: Sequence[SearchTrial]) -> Choice | None:
    """Choose the trial with the best last-epoch validation accuracy.

    Only trials that were not cut short take part. They are compared in the last round that all of them have. Among
    equal accuracies the smallest learning rate wins, then the first trial.

    Returns:
        The choice, without its final runs. It is None if every trial was cut short, or if a budget ended one of them:
        then the search is not finished.
    """
    candidates = [trial for trial in trials if trial.accuracies and not trial.is_cut]
    if not candidates or any(trial.is_cut and trial.ended_by == BUDGET for trial in trials):
        return None
    last = min(len(trial.accuracies) for trial in candidates) - 1
    best = min(candidates, key=lambda trial: (-trial.accuracies[last], trial.experiment.train.lr))
    return Choice(
        trial=best.experiment.name,
        setting=best.experiment.setting,
        rounds=len(best.accuracies),
        compared=last,
        accuracy=best.accuracies[last],
    )


def record_divergence(store: Store, experiment: Experiment, reason: str) -> None:
    """Store that a search trial's loss became infinite or NaN, so that the trial is not repeated.

    Args:
        store: the study's store.
        experiment: the search trial.
        reason: what was not finite, in one line.
    """
    store.write(layout.diverged(experiment.name), json.dumps({"reason": reason}).encode())


def has_diverged(store: Store, experiment: Experiment) -> bool:
    """Whether the store says that this search trial has diverged."""
    return store.read(layout.diverged(experiment.name)) is not None


def diverged(store: Store) -> set[str]:
    """The names of all search trials that have diverged."""
    return {path.rpartition("/")[2].removesuffix(".json") for path in store.listing(layout.DIVERGED)}


def read(store: Store, path: str) -> Choice | None:
    """The choice that is stored at `path`. It is None if there is none or, with a warning, if the file is damaged."""

    def parsed(fields: dict[str, Any]) -> Choice:
        finals = tuple((int(seed), str(name), str(digest)) for seed, name, digest in fields.pop("finals"))
        return Choice(**fields, finals=finals)

    return signed.read(store, path, parsed)


def write(store: Store, path: str, choice: Choice) -> None:
    """Store a choice; it is in the store when this returns.

    Args:
        store: the study's store.
        path: the group's `SearchGroup.path`.
        choice: the choice with its final runs.
    """
    signed.write(store, path, dataclasses.asdict(choice))

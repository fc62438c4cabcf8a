"""Who may go on, among the experiments of one dataset: the lottery's own rule, or a scheduler of Ray Tune.

Tune's schedulers decide here and nothing else: each dataset has one of its own, fed with the dataset's experiments and
their validation accuracies by round, and their pauses and stops are read back. `order.TrainingOrder` asks; it alone
acts.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import SchedulerConfig
from lion_ray.experiments import Experiment
from lion_ray.lottery import should_stop

TIME, METRIC = "rounds", "val_accuracy"


class StoppingRule(ABC):
    """Decides from validation accuracies, reported round by round; names are the experiments'."""

    @abstractmethod
    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        """Whom the newest of `accuracies` (of rounds 0, 1, ...) of `name` stops: often nobody, or `name` itself."""

    def on_over(self, name: str) -> tuple[str, ...]:
        """Whom it stops that `name` trains no further, for whatever reason."""
        return ()

    def is_paused(self, name: str) -> bool:
        """Whether `name` has to wait for others before its next round."""
        return False


class NoRule(StoppingRule):
    """Everybody goes on to the last round."""

    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        return ()


class LotteryRule(StoppingRule):
    """Each by its own `lottery.tolerance` and `patience`, against its round 0 (docs/method.md, *Lottery rounds*)."""

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self._lotteries = {experiment.name: experiment.lottery for experiment in experiments}

    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        return (name,) if should_stop(accuracies, self._lotteries[name]) else ()


def make_rule(config: SchedulerConfig, experiments: Sequence[Experiment]) -> StoppingRule:
    """The rule for experiments that are compared, in the study's order. Nothing stops a protocol's final runs."""
    stage = experiments[0].stage
    if config.name == "none" or (stage is not None and stage.name == "final"):
        return NoRule()
    if config.name == "lottery":
        return LotteryRule(experiments)
    names = [experiment.name for experiment in experiments]
    return TuneRule(_tune_scheduler(config, max(each.num_rounds for each in experiments)), names)


def _tune_scheduler(config: SchedulerConfig, rounds: int) -> Any:
    from ray.tune import schedulers

    common: dict[str, Any] = {"time_attr": TIME, "metric": METRIC, "mode": "max"}
    if config.name == "median":
        return schedulers.MedianStoppingRule(
            **common, grace_period=config.grace_rounds, min_samples_required=config.min_samples
        )
    common |= {"max_t": rounds, "reduction_factor": config.reduction_factor}
    common |= {"stop_last_trials": False}  # who survives the last halving trains to its last round
    if config.name == "hyperband":
        return schedulers.HyperBandScheduler(**common)
    return schedulers.ASHAScheduler(**common, grace_period=min(config.grace_rounds, rounds))


@dataclasses.dataclass(eq=False)
class _Trial:
    """What Tune's schedulers look at in a trial."""

    trial_id: str
    status: str = "PENDING"
    is_saving: bool = False
    last_result: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class TuneRule(StoppingRule):
    """A Tune scheduler as a rule; this object is the little of Tune's controller that schedulers call."""

    def __init__(self, scheduler: Any, names: Sequence[str]) -> None:
        self._scheduler = scheduler
        self._trials = {name: _Trial(trial_id=name) for name in names}
        self._stopped: list[str] = []
        for trial in self._trials.values():
            scheduler.on_trial_add(self, trial)
        self._release()

    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        """Tune's decision on the newest accuracy."""
        trial = self._trials[name]
        if trial.status == "TERMINATED":
            return ()
        trial.status = "RUNNING"
        trial.last_result = {TIME: len(accuracies), METRIC: accuracies[-1]}
        action = self._scheduler.on_trial_result(self, trial, dict(trial.last_result))
        if action == "STOP":
            self.stop_trial(trial)
        elif action == "PAUSE":
            trial.status = "PAUSED"
        return self._effects()

    def on_over(self, name: str) -> tuple[str, ...]:
        """The scheduler forgets `name`."""
        self._end(self._trials[name])
        return self._effects()

    def is_paused(self, name: str) -> bool:
        """Whether the scheduler has paused `name` and not let it go on yet."""
        return self._trials[name].status == "PAUSED"

    def get_trials(self) -> list[_Trial]:
        """All trials, for schedulers that look around."""
        return list(self._trials.values())

    def get_live_trials(self) -> list[_Trial]:
        """None: nobody is asked to make room for others, `order` does that."""
        return []

    def stop_trial(self, trial: _Trial) -> None:
        """Called by the scheduler for trials that are not reporting."""
        if trial.status != "TERMINATED":
            self._stopped.append(trial.trial_id)
            self._end(trial)

    def _end(self, trial: _Trial) -> None:
        if trial.status == "TERMINATED":
            return
        was, trial.status = trial.status, "TERMINATED"
        if was == "RUNNING" and trial.last_result:
            self._scheduler.on_trial_complete(self, trial, dict(trial.last_result))
        else:
            self._scheduler.on_trial_remove(self, trial)

    def _effects(self) -> tuple[str, ...]:
        self._release()
        stopped, self._stopped = tuple(self._stopped), []
        return stopped

    def _release(self) -> None:
        """Whoever the scheduler would run next may go on."""
        while (trial := self._scheduler.choose_trial_to_run(self)) is not None:
            trial.status = "RUNNING"

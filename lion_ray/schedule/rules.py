"""Stopping rules for the experiments of one dataset: the lottery's own rule, or a scheduler of Ray Tune.

A scheduler of Tune only decides here. Each dataset has its own scheduler, which receives the validation accuracies by
round, and its pauses and stops are read back. `lion_ray.schedule.stopping` asks the rules and acts on them.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from lion_ray.config import SchedulerConfig
from lion_ray.experiments import Experiment
from lion_ray.lottery import should_stop

TIME, METRIC = "rounds", "val_accuracy"


class StoppingRule(ABC):
    """Decides from validation accuracies which experiments stop or pause. Experiments are given by their names."""

    @abstractmethod
    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        """The experiments that a new accuracy stops: none, `name` itself, or others.

        Args:
            name: the experiment that has finished a round.
            accuracies: its validation accuracies of rounds 0, 1, ..., the new one last.
        """

    def on_complete(self, name: str) -> tuple[str, ...]:
        """The experiments that stop because `name` trains no further, for any reason."""
        return ()

    def is_paused(self, name: str) -> bool:
        """Whether `name` has to wait for other experiments before its next round."""
        return False


class NoRule(StoppingRule):
    """No experiment stops before its last round."""

    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        return ()


class LotteryRule(StoppingRule):
    """The rule of `lottery.tolerance` and `lottery.patience` of each experiment (docs/method.md, *Lottery rounds*)."""

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self._lotteries = {experiment.name: experiment.lottery for experiment in experiments}

    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        return (name,) if should_stop(accuracies, self._lotteries[name]) else ()


def make_rule(config: SchedulerConfig, experiments: Sequence[Experiment]) -> StoppingRule:
    """The rule for a group of experiments that are compared, in the study's order. Final runs are never stopped."""
    stage = experiments[0].stage
    if config.name == "none" or (stage is not None and stage.name == "final"):
        return NoRule()
    if config.name == "lottery":
        return LotteryRule(experiments)
    names = [experiment.name for experiment in experiments]
    return TuneRule(_tune_scheduler(config, max(each.num_rounds for each in experiments)), names)


def _tune_scheduler(config: SchedulerConfig, rounds: int) -> TuneScheduler:
    from ray.tune import schedulers

    common: dict[str, object] = {"time_attr": TIME, "metric": METRIC, "mode": "max"}
    if config.name == "median":
        least = {"grace_period": config.grace_rounds, "min_samples_required": config.min_samples}
        median: TuneScheduler = schedulers.MedianStoppingRule(**common, **least)
        return median
    common |= {"max_t": rounds, "reduction_factor": config.reduction_factor}
    common |= {"stop_last_trials": False}  # an experiment that survives the last halving trains to its last round
    if config.name == "hyperband":
        hyperband: TuneScheduler = schedulers.HyperBandScheduler(**common)
        return hyperband
    asha: TuneScheduler = schedulers.ASHAScheduler(**common, grace_period=min(config.grace_rounds, rounds))
    return asha


@dataclasses.dataclass(eq=False)
class _Trial:
    """The attributes of a Tune trial that Tune's schedulers read."""

    trial_id: str
    status: str = "PENDING"
    is_saving: bool = False
    last_result: Mapping[str, float] = dataclasses.field(default_factory=dict)


class TuneScheduler(Protocol):
    """The methods of `ray.tune.schedulers.TrialScheduler` that `TuneRule` calls.

    `controller` is the rule itself, in the place of Tune's controller.
    """

    def on_trial_add(self, controller: TuneRule, trial: _Trial) -> None:
        """Take note of a new trial."""

    def on_trial_result(self, controller: TuneRule, trial: _Trial, result: dict[str, float]) -> str:
        """Decide on a result: `CONTINUE`, `PAUSE` or `STOP`."""

    def on_trial_complete(self, controller: TuneRule, trial: _Trial, result: dict[str, float]) -> None:
        """Take note that a trial has ended with a result."""

    def on_trial_remove(self, controller: TuneRule, trial: _Trial) -> None:
        """Take note that a trial has ended without a new result."""

    def choose_trial_to_run(self, controller: TuneRule) -> _Trial | None:
        """The trial that may run next; None if none may."""


class TuneRule(StoppingRule):
    """A Tune scheduler as a stopping rule. This object offers the methods of Tune's controller that schedulers call.

    Args:
        scheduler: the scheduler of Tune.
        names: the names of the experiments, in the study's order.
    """

    def __init__(self, scheduler: TuneScheduler, names: Sequence[str]) -> None:
        self._scheduler = scheduler
        self._trials = {name: _Trial(trial_id=name) for name in names}
        self._stopped: list[str] = []
        for trial in self._trials.values():
            scheduler.on_trial_add(self, trial)
        self._release()

    def on_round(self, name: str, accuracies: Sequence[float]) -> tuple[str, ...]:
        """The experiments that Tune's scheduler stops after the new accuracy."""
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

    def on_complete(self, name: str) -> tuple[str, ...]:
        """Report to the scheduler that `name` trains no further."""
        self._end(self._trials[name])
        return self._effects()

    def is_paused(self, name: str) -> bool:
        """Whether the scheduler has paused `name` and has not released it yet."""
        return self._trials[name].status == "PAUSED"

    def get_trials(self) -> list[_Trial]:
        """All trials; called by schedulers."""
        return list(self._trials.values())

    def get_live_trials(self) -> list[_Trial]:
        """No trials, so that no scheduler frees resources; `TrainingOrder` decides which experiment runs."""
        return []

    def stop_trial(self, trial: _Trial) -> None:
        """Stop a trial; called by schedulers, also for trials other than the reporting one."""
        if trial.status != "TERMINATED":
            self._stopped.append(trial.trial_id)
            self._end(trial)

    def _end(self, trial: _Trial) -> None:
        if trial.status == "TERMINATED":
            return
        former, trial.status = trial.status, "TERMINATED"
        if former == "RUNNING" and trial.last_result:
            self._scheduler.on_trial_complete(self, trial, dict(trial.last_result))
        else:
            self._scheduler.on_trial_remove(self, trial)

    def _effects(self) -> tuple[str, ...]:
        self._release()
        stopped, self._stopped = tuple(self._stopped), []
        return stopped

    def _release(self) -> None:
        """Let all trials continue that the scheduler would run next."""
        while (trial := self._scheduler.choose_trial_to_run(self)) is not None:
            trial.status = "RUNNING"

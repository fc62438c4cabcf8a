"""What follows while a sweep runs: a group's final runs, as soon as the last of its search trials is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lion_ray.experiments import Experiment
from lion_ray.schedule import ExperimentState
from lion_ray.store import Store
from lion_ray.study.choices import SearchTrial, has_diverged
from lion_ray.study.decisions import DIVERGENCE
from lion_ray.study.plan import Plan, PlannedExperiment
from lion_ray.study.search_groups import Stages

Admitted = Callable[[Sequence[Experiment], Sequence[Experiment]], None]


class Following:
    """What follows while trials end, for `schedule.Turns`.

    Args:
        on_admitted: called with a group's final runs and the stand-ins whose place they take.
    """

    def __init__(self, stages: Stages, plan: Plan, store: Store, on_admitted: Admitted) -> None:
        self._store, self._on_admitted = store, on_admitted
        awaiting = {run.entry for run in plan.awaiting_choice}
        self._open = {entry: group for entry, group in stages.groups.items() if entry in awaiting}

    def __call__(self, experiment: Experiment, states: Mapping[str, ExperimentState]) -> list[PlannedExperiment]:
        """The final runs of the experiment's group, once: when the last of its trials is over."""
        group = self._open.get(experiment.entry) if experiment.is_search else None
        if group is None or any(states[trial.name].phase != "over" for trial in group.trials):
            return []
        trials = [self._trial(states[trial.name]) for trial in group.trials]
        done = [trial for trial in trials if trial is not None]
        choice = group.resolved(self._store, done if len(done) == len(trials) else None, keep=True)
        del self._open[experiment.entry]
        if choice is None:
            return []
        finals = group.finals(choice)
        self._on_admitted(finals, group.stand_ins())
        return [PlannedExperiment(experiment=run, rounds=()) for run in finals]

    def _trial(self, state: ExperimentState) -> SearchTrial | None:
        """None if its process failed: it is tried again by the next command, and nothing is chosen before."""
        ended_by = state.by or None
        if state.trains_on:
            if not has_diverged(self._store, state.experiment):
                return None
            ended_by = DIVERGENCE
        return SearchTrial(experiment=state.experiment, accuracies=tuple(state.accuracies), ended_by=ended_by)

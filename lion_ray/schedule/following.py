"""Final runs that join a running sweep, as soon as the last search trial of their group is over.

`lion_ray.sweep.run` passes a `FollowUpRuns` to `TrainingOrder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lion_ray.experiments import Experiment
from lion_ray.schedule import ExperimentState
from lion_ray.store import Store
from lion_ray.study.choices import SearchTrial, has_diverged
from lion_ray.study.decisions import DIVERGENCE
from lion_ray.study.plan import Plan, PlannedExperiment
from lion_ray.study.search_groups import Stages

OnFinalRuns = Callable[[Sequence[Experiment], Sequence[Experiment]], None]


class FollowUpRuns:
    """The final runs that follow search trials, for `TrainingOrder`.

    Args:
        stages: the search groups of the study.
        plan: the plan; groups whose choice it awaits are watched.
        store: the store of the study, where choices are written.
        on_final_runs: called with the final runs of a group and the placeholders that they replace.
    """

    def __init__(self, stages: Stages, plan: Plan, store: Store, on_final_runs: OnFinalRuns) -> None:
        self._store, self._on_final_runs = store, on_final_runs
        awaiting = {run.entry for run in plan.awaiting_choice}
        self._open = {entry: group for entry, group in stages.groups.items() if entry in awaiting}

    def __call__(self, experiment: Experiment, states: Mapping[str, ExperimentState]) -> list[PlannedExperiment]:
        """The final runs of the experiment's group if the last of its trials is over; returned once, otherwise empty.

        Args:
            experiment: the experiment whose state has changed.
            states: the states of all experiments by name.
        """
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
        self._on_final_runs(finals, group.stand_ins())
        return [PlannedExperiment(experiment=run, rounds=()) for run in finals]

    def _trial(self, state: ExperimentState) -> SearchTrial | None:
        """The trial for the choice; None if its process failed, because the next command tries it again."""
        ended_by = state.by or None
        if state.trains_on:
            if not has_diverged(self._store, state.experiment):
                return None
            ended_by = DIVERGENCE
        return SearchTrial(experiment=state.experiment, accuracies=tuple(state.accuracies), ended_by=ended_by)

"""A study's search trials by dataset and method entry, each group with the final runs that follow from its choice.

`lion_ray.sweep` plans studies through `Stages`, `lion_ray.schedule.following` makes the choice of a group while a sweep
runs, and `lion_ray.report.trainings` reads studies through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lion_ray.config import DatasetConfig, SchedulerConfig, Study
from lion_ray.experiments import Experiment, final_run
from lion_ray.experiments.protocol import final_stage
from lion_ray.store import Store, layout, map_in_threads
from lion_ray.store.signed import digest_of
from lion_ray.study.choices import Choice, SearchTrial, choose, diverged, read, write
from lion_ray.study.decisions import DIVERGENCE, Stop
from lion_ray.study.plan import ChosenSetting, Plan, PlannedExperiment, make_plan
from lion_ray.study.rounds import val_accuracies


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchGroup:
    """All search trials of one dataset and method entry.

    The chosen setting is trained with each of `seeds` in the final stage of `protocol`. `scheduler` is the section that
    may end trials early.
    """

    trials: tuple[Experiment, ...]
    protocol: str
    seeds: tuple[int, ...]
    scheduler: SchedulerConfig

    @property
    def path(self) -> str:
        """The path of the group's choice. Another search space, length, scheduler or protocol has another path."""
        lengths = [[t.name, t.num_rounds, t.lottery.tolerance, t.lottery.patience] for t in self.trials]
        first = self.trials[0]
        digest = digest_of([lengths, self.scheduler.model_dump(mode="json"), self.protocol])[:8]
        return layout.choice(first.dataset.name, first.method.name, digest)

    def chosen(self, choice: Choice) -> ChosenSetting:
        """The choice as tables show it."""
        return ChosenSetting(
            trial=self._winner(choice),
            setting=choice.setting,
            num_trials=len(self.trials),
            rounds=choice.rounds,
            compared=choice.compared,
            accuracy=choice.accuracy,
        )

    def finals(self, choice: Choice) -> list[Experiment]:
        """The final runs that follow from a choice, one per seed.

        A study that `request.recall` has read knows no identities, so it takes the runs' names and digests from the
        stored choice and leaves out the seeds that the choice does not have.
        """
        chosen = self._winner(choice)
        runs = [self._final(chosen, seed, choice.rounds) for seed in self.seeds]
        if chosen.identity:
            return runs
        known = {seed: (name, digest) for seed, name, digest in choice.finals}
        named = [(run, *known[run.seed]) for run in runs if run.seed in known]
        return [dataclasses.replace(run, name=name, digest=digest) for run, name, digest in named]

    def stand_ins(self) -> list[Experiment]:
        """Stand-ins for the final runs while no setting is chosen: those of the first trial's setting."""
        return [self._final(self.trials[0], seed, self.trials[0].num_rounds) for seed in self.seeds]

    def resolved(self, store: Store, trials: Sequence[SearchTrial] | None, *, keep: bool) -> Choice | None:
        """The stored choice, or the one that `trials` give.

        Args:
            store: the study's store.
            trials: the results of all trials once every trial has ended; None before.
            keep: store a choice that is new or has new final runs.

        Returns:
            The choice with its final runs; None while there is none.
        """
        stored = read(store, self.path)
        if not self.trials[0].identity:  # a report cannot name the runs of a choice that is not stored
            return stored
        choice = choose(trials) if stored is None and trials is not None else stored
        if choice is None:
            return None
        complete = tuple((run.seed, run.name, run.digest) for run in self.finals(choice))
        choice = dataclasses.replace(choice, finals=complete)
        if keep and choice != stored:
            write(store, self.path, choice)
        return choice

    def _winner(self, choice: Choice) -> Experiment:
        return next(trial for trial in self.trials if trial.name == choice.trial)

    def _final(self, chosen: Experiment, seed: int, rounds: int) -> Experiment:
        return final_run(chosen, final_stage(self.protocol), seed=seed, rounds=rounds)


class Stages:
    """The experiments of a study in two stages: search trials, then the final runs under the chosen settings.

    Without a protocol that searches there is one stage and no group.
    """

    def __init__(self, experiments: Sequence[Experiment], study: Study) -> None:
        """Group the search trials by dataset and method entry.

        Args:
            experiments: the experiments that the study file names, from `experiments.expand` or `request.recall`.
            study: the study file.
        """
        self.experiments, self.scheduler = experiments, study.scheduler
        trials: dict[tuple[DatasetConfig, str], list[Experiment]] = {}
        for experiment in experiments:
            if experiment.is_search:
                trials.setdefault(experiment.entry, []).append(experiment)
        name = study.protocol.name if study.protocol else ""
        self.groups = {
            entry: SearchGroup(trials=tuple(group), protocol=name, seeds=study.seeds, scheduler=study.scheduler)
            for entry, group in trials.items()
        }

    def plan(self, store: Store, *, verify: bool = False, keep: bool = True) -> Plan:
        """The plan of all experiments, with the final runs whose setting is chosen.

        Args:
            store: the study's store.
            verify: read every artifact with its digest; see `make_plan`.
            keep: store what was read and the choices that were made.
        """
        plan = make_plan(self.experiments, store, self.scheduler, verify=verify, keep=keep)
        if not self.groups:
            return plan
        diverged_names = diverged(store)
        items = [_with_divergence(item, diverged_names) for item in plan.items]
        by_name = {item.experiment.name: item for item in items}

        def resolved(group: SearchGroup) -> Choice | None:
            own = [by_name[trial.name] for trial in group.trials]
            done = [_trial_of(item) for item in own] if all(item.is_finished for item in own) else None
            return group.resolved(store, done, keep=keep)

        groups = list(self.groups.values())
        choices = list(zip(groups, map_in_threads(resolved, groups), strict=True))
        finals = [run for group, choice in choices if choice for run in group.finals(choice)]
        awaiting = [run for group, choice in choices if choice is None for run in group.stand_ins()]
        more = make_plan(finals, store, self.scheduler, verify=verify, keep=keep).items if finals else []
        chosen = [group.chosen(choice) for group, choice in choices if choice]
        return Plan(items=[*items, *more], awaiting_choice=awaiting, chosen=chosen)


def _with_divergence(item: PlannedExperiment, diverged_names: set[str]) -> PlannedExperiment:
    if item.experiment.name not in diverged_names or item.is_finished:
        return item
    return dataclasses.replace(item, stop=Stop(round=len(item.rounds) - 1, by=DIVERGENCE))


def _trial_of(item: PlannedExperiment) -> SearchTrial:
    by = item.stop.by if item.stop else None
    return SearchTrial(experiment=item.experiment, accuracies=val_accuracies(item.rounds), ended_by=by)

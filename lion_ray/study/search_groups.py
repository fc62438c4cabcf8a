"""A study's search trials by dataset and method entry, each group with the final runs that follow from its choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lion_ray.config import DatasetConfig, SchedulerConfig, Study
from lion_ray.experiments import Experiment, final_run
from lion_ray.experiments.protocol import final_stage
from lion_ray.store import Store, layout, map_in_threads
from lion_ray.store.signed import digest_of
from lion_ray.study.choices import Choice, Trial, choose, diverged, read, write
from lion_ray.study.decisions import DIVERGENCE, Stop
from lion_ray.study.plan import ChosenSetting, Plan, PlannedExperiment, make_plan
from lion_ray.study.rounds import val_accuracies


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchGroup:
    """All trials of one dataset and method entry, and what the study does with the setting that is chosen."""

    trials: tuple[Experiment, ...]
    protocol: str
    seeds: tuple[int, ...]
    scheduler: SchedulerConfig

    @property
    def path(self) -> str:
        """Where its choice lies: another space, length or scheduler chooses anew."""
        how_long = [[t.name, t.num_rounds, t.lottery.tolerance, t.lottery.patience] for t in self.trials]
        first = self.trials[0]
        about = digest_of([how_long, self.scheduler.model_dump(mode="json"), self.protocol])[:8]
        return layout.choice(first.dataset.name, first.method.name, about)

    def chosen(self, choice: Choice) -> ChosenSetting:
        """The choice, for people."""
        return ChosenSetting(
            trial=self._winner(choice),
            setting=choice.setting,
            num_trials=len(self.trials),
            rounds=choice.rounds,
            compared=choice.compared,
            accuracy=choice.accuracy,
        )

    def finals(self, choice: Choice) -> list[Experiment]:
        """The runs that follow; those that the choice has on record keep their names."""
        chosen = self._winner(choice)
        runs = [self._final(chosen, seed, choice.rounds) for seed in self.seeds]
        if chosen.identity:
            return runs
        known = {seed: (name, digest) for seed, name, digest in choice.finals}  # a report knows no identity
        named = [(run, *known[run.seed]) for run in runs if run.seed in known]
        return [dataclasses.replace(run, name=name, digest=digest) for run, name, digest in named]

    def stand_ins(self) -> list[Experiment]:
        """Stand-ins for the runs that will follow."""
        return [self._final(self.trials[0], seed, self.trials[0].num_rounds) for seed in self.seeds]

    def resolved(self, store: Store, trials: Sequence[Trial] | None, *, keep: bool) -> Choice | None:
        """The choice on record, or the one made of `trials` if they are all over, which is written down if `keep`."""
        found = read(store, self.path)
        if not self.trials[0].identity:  # whoever reports cannot name the runs of a choice that is not on record
            return found
        choice = choose(trials) if found is None and trials is not None else found
        if choice is None:
            return None
        complete = tuple((run.seed, run.name, run.digest) for run in self.finals(choice))
        choice = dataclasses.replace(choice, finals=complete)
        if keep and choice != found:
            write(store, self.path, choice)
        return choice

    def _winner(self, choice: Choice) -> Experiment:
        return next(trial for trial in self.trials if trial.name == choice.trial)

    def _final(self, chosen: Experiment, seed: int, rounds: int) -> Experiment:
        return final_run(chosen, final_stage(self.protocol), seed=seed, rounds=rounds)


class Stages:
    """A study's experiments, stage by stage; without a protocol that searches there is one stage.

    Args:
        experiments: what the study file names: see `experiments.expand`.
    """

    def __init__(self, experiments: Sequence[Experiment], study: Study) -> None:
        self.experiments, self.scheduler = experiments, study.scheduler
        trials: dict[tuple[DatasetConfig, str], list[Experiment]] = {}
        for each in experiments:
            if each.is_search:
                trials.setdefault(each.entry, []).append(each)
        name = study.protocol.name if study.protocol else ""
        self.groups = {
            entry: SearchGroup(trials=tuple(group), protocol=name, seeds=study.seeds, scheduler=study.scheduler)
            for entry, group in trials.items()
        }

    def plan(self, store: Store, *, verify: bool = False, keep: bool = True) -> Plan:
        """Look everything up in the store, the final runs too whose setting is chosen by now; see `make_plan`."""
        plan = make_plan(self.experiments, store, self.scheduler, verify=verify, keep=keep)
        if not self.groups:
            return plan
        gone = diverged(store)
        items = [_with_divergence(item, gone) for item in plan.items]
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


def _with_divergence(item: PlannedExperiment, gone: set[str]) -> PlannedExperiment:
    if item.experiment.name not in gone or item.is_finished:
        return item
    return dataclasses.replace(item, stop=Stop(round=len(item.rounds) - 1, by=DIVERGENCE))


def _trial_of(item: PlannedExperiment) -> Trial:
    by = item.stop.by if item.stop else None
    return Trial(experiment=item.experiment, accuracies=val_accuracies(item.rounds), ended_by=by)

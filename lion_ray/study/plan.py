"""What a study asks for against what its store already holds. Running and resuming both start from this."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import ResourcesConfig, SchedulerConfig, Study
from lion_ray.experiments import Experiment, entry_label
from lion_ray.lottery import should_stop
from lion_ray.store import Store
from lion_ray.study.decisions import LOTTERY, Decisions, Stop
from lion_ray.study.index import survey
from lion_ray.study.record import RoundRecord
from lion_ray.study.rounds import FoundRounds, val_accuracies

_LOTTERY = SchedulerConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedExperiment:
    """One experiment, its finished rounds, the controls trained beside them, and the stop that ended it early."""

    experiment: Experiment
    rounds: Sequence[RoundRecord]
    controls: Sequence[RoundRecord] = ()
    stop: Stop | None = None
    lacks_start: bool = False  # what its rounds rewind to is lost: it is made again

    @property
    def is_finished(self) -> bool:
        """Whether no round is left: all are done, or it was stopped; and no control or start of theirs is missing."""
        is_over = self.stop is not None or len(self.rounds) == self.experiment.num_rounds
        return is_over and not self.lacks_controls and not self.lacks_start

    @property
    def lacks_controls(self) -> bool:
        """Whether a control beside one of its rounds is still to be trained."""
        return len(self.controls) < (len(self.rounds) - 1) * len(self.experiment.controls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenSetting:
    """The setting that one of `num_trials` won with for a dataset and method entry, and by which figure."""

    trial: Experiment
    setting: Mapping[str, Any]
    num_trials: int
    rounds: int
    compared: int
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All experiments of a study in their order; `awaiting_choice` stand for those whose setting is not chosen yet."""

    items: Sequence[PlannedExperiment]
    awaiting_choice: Sequence[Experiment] = ()
    chosen: Sequence[ChosenSetting] = ()

    @property
    def pending(self) -> list[Experiment]:
        """What is still to be run."""
        return [item.experiment for item in self.items if not item.is_finished]

    @property
    def num_done_rounds(self) -> int:
        """Rounds in the store."""
        return sum(len(item.rounds) for item in self.items)

    @property
    def num_rounds(self) -> int:
        """Rounds that the study asks for, at most."""
        return sum(item.experiment.num_rounds for item in self.items)


def make_plan(
    experiments: Sequence[Experiment],
    store: Store,
    scheduler: SchedulerConfig = _LOTTERY,
    *,
    verify: bool = False,
    keep: bool = True,
) -> Plan:
    """Look every experiment up in the store; rounds beyond a stop that `scheduler` has made do not count.

    Args:
        verify: read every artifact with its digest; otherwise those that have changed since they were read last.
        keep: write down what was read, for the next plan.
    """
    stops = Decisions(store, scheduler).stops(each.peers for each in experiments)
    by_name = {each.name: each for each in experiments}

    def is_finished(name: str, found: FoundRounds) -> bool:
        return _item(by_name[name], found, stops.get(name)).is_finished

    found = survey(store, list(by_name), is_finished=is_finished, verify=verify, keep=keep)
    return Plan(items=[_item(each, found[each.name], stops.get(each.name)) for each in experiments])


def _item(experiment: Experiment, found: FoundRounds, decided: Stop | None) -> PlannedExperiment:
    rounds, stop = ended(experiment, found.rounds, decided)
    controls = found.controls_of(rounds, experiment.controls)
    lacks_start = bool(rounds) and not found.has_start
    return PlannedExperiment(
        experiment=experiment, rounds=rounds, controls=controls, stop=stop, lacks_start=lacks_start
    )


def counted(num: int, thing: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{num} {thing}{'s' * (num != 1)}"


def worker_text(need: ResourcesConfig) -> str:
    """`2 workers with 1 CPU`, for people."""
    few, many = need.min_workers, need.max_workers
    count = counted(many, "worker") if few == many else f"{few} to {many} workers"
    return f"{count} with {need.cpus} CPU" + f", {need.gpus:g} GPU" * bool(need.gpus)


def ended(
    experiment: Experiment, rounds: Sequence[RoundRecord], decided: Stop | None
) -> tuple[Sequence[RoundRecord], Stop | None]:
    """The rounds that count and what ended them: `decided`, or earlier the lottery's rule.

    That rule follows from the rounds and from today's `tolerance`, so what it once said is not asked for: a study whose
    tolerance is raised goes on.
    """
    stop = None if decided is None or decided.by == LOTTERY else decided
    accuracies = val_accuracies(rounds)
    for last in range(len(rounds) if stop is None else min(len(rounds), stop.round + 1)):
        if should_stop(accuracies[: last + 1], experiment.lottery):
            stop = Stop(round=last, by=LOTTERY)
            break
    limit = experiment.num_rounds if stop is None else min(experiment.num_rounds, stop.round + 1)
    rounds = rounds[:limit]
    if len(rounds) < limit or limit == experiment.num_rounds:
        stop = None  # a stopped round is lost and has to come back, or there is nothing beyond the stop
    return rounds, stop


def stopped(stop: Stop) -> str:
    """For people: where it ended, and by whom."""
    return f"stopped by {stop.by} " + (f"after round {stop.round}" if stop.round >= 0 else "before round 0")


def final_runs_awaiting_choice(plan: Plan) -> Counter[str]:
    """How many final runs are still to come, by dataset and method entry."""
    return Counter(f"{each.dataset_label}/{entry_label(each.method)}" for each in plan.awaiting_choice)


def describe(plan: Plan, study: Study) -> str:
    """The plan for people: what is there, what is to be done, what each experiment needs."""
    width = max(len(item.experiment.name) for item in plan.items)
    each = worker_text(study.resources)
    rounds_at_most = plan.num_rounds + sum(each.num_rounds for each in plan.awaiting_choice)
    num_experiments = len(plan.items) + len(plan.awaiting_choice)
    lines = [
        f"study {study.study}: {counted(num_experiments, 'experiment')}, {counted(rounds_at_most, 'round')} at most"
    ]
    for item in plan.items:
        state = f"needs {each}" if not item.is_finished else stopped(item.stop) if item.stop else "done"
        rounds = f"rounds {len(item.rounds)}/{item.experiment.num_rounds}"
        controls = (item.experiment.num_rounds - 1) * len(item.experiment.controls)
        rounds += f"  controls {len(item.controls)}/{controls}" * bool(controls)
        lines.append(f"  {item.experiment.name:<{width}}  {rounds:<12} {state}")
    for label, num in final_runs_awaiting_choice(plan).items():
        lines.append(f"  {label}: {counted(num, 'final run')} once its setting is chosen")
    done, left = plan.num_done_rounds, len(plan.pending)
    lines.append(f"{counted(done, 'round')} {'is' if done == 1 else 'are'} done, {counted(left, 'experiment')} to run")
    return "\n".join(lines)

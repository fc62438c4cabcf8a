"""The plan of a study: the experiments that it asks for, compared with the rounds that its store already holds.

Running and resuming both start from a plan. `lion_ray.sweep.driver` prints it, `lion_ray.schedule` orders what is
pending, and `lion_ray.report` shows it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from lion_ray.config import ResourcesConfig, SchedulerConfig, Study
from lion_ray.experiments import Experiment, Setting, entry_label
from lion_ray.lottery import should_stop
from lion_ray.store import Store
from lion_ray.study.decisions import LOTTERY, Decisions, Stop
from lion_ray.study.index import survey
from lion_ray.study.record import RoundRecord
from lion_ray.study.rounds import FoundRounds, val_accuracies

_LOTTERY = SchedulerConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedExperiment:
    """One experiment with its finished rounds and the controls that were trained beside them.

    `stop` is what ended the experiment before its last round; None if nothing did. `lacks_start` says that the tensors
    that its rounds rewind to are lost and have to be made again.
    """

    experiment: Experiment
    rounds: Sequence[RoundRecord]
    controls: Sequence[RoundRecord] = ()
    stop: Stop | None = None
    lacks_start: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do: all rounds are done or it was stopped, and no control and no start is lost."""
        is_over = self.stop is not None or len(self.rounds) == self.experiment.num_rounds
        return is_over and not self.lacks_controls and not self.lacks_start

    @property
    def lacks_controls(self) -> bool:
        """Whether a control beside one of its rounds is still to be trained."""
        return len(self.controls) < (len(self.rounds) - 1) * len(self.experiment.controls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenSetting:
    """The setting that won the search of one dataset and method entry, for tables.

    `trial` is the winner of `num_trials` trials. It won by its validation `accuracy`, 0 to 1, in round `compared`, and
    the final runs train `rounds` rounds.
    """

    trial: Experiment
    setting: Setting
    num_trials: int
    rounds: int
    compared: int
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All experiments of a study in their order.

    `awaiting_choice` holds stand-ins for the final runs whose setting is not chosen yet, and `chosen` the settings that
    are.
    """

    items: Sequence[PlannedExperiment]
    awaiting_choice: Sequence[Experiment] = ()
    chosen: Sequence[ChosenSetting] = ()

    @property
    def pending(self) -> list[Experiment]:
        """The experiments that are still to be run."""
        return [item.experiment for item in self.items if not item.is_finished]

    @property
    def num_done_rounds(self) -> int:
        """How many of the rounds are in the store."""
        return sum(len(item.rounds) for item in self.items)

    @property
    def num_rounds(self) -> int:
        """How many rounds the study asks for at most."""
        return sum(item.experiment.num_rounds for item in self.items)


def make_plan(
    experiments: Sequence[Experiment],
    store: Store,
    scheduler: SchedulerConfig = _LOTTERY,
    *,
    verify: bool = False,
    keep: bool = True,
) -> Plan:
    """Look every experiment up in the store. Rounds beyond a stop that `scheduler` has decided do not count.

    Args:
        experiments: the experiments, in the order of the plan.
        store: the study's store.
        scheduler: the `scheduler` section whose decisions count.
        verify: read every artifact with its digest; otherwise only those that have changed since the last plan.
        keep: store what was read in the index, for the next plan.
    """
    stops = Decisions(store, scheduler).stops(experiment.peers for experiment in experiments)
    by_name = {experiment.name: experiment for experiment in experiments}

    def is_finished(name: str, stored_rounds: FoundRounds) -> bool:
        return _item(by_name[name], stored_rounds, stops.get(name)).is_finished

    stored_rounds = survey(store, list(by_name), is_finished=is_finished, verify=verify, keep=keep)
    return Plan(items=[_item(each, stored_rounds[each.name], stops.get(each.name)) for each in experiments])


def _item(experiment: Experiment, stored_rounds: FoundRounds, decided: Stop | None) -> PlannedExperiment:
    rounds, stop = ended(experiment, stored_rounds.rounds, decided)
    controls = stored_rounds.controls_of(rounds, experiment.controls)
    lacks_start = bool(rounds) and not stored_rounds.has_start
    return PlannedExperiment(
        experiment=experiment, rounds=rounds, controls=controls, stop=stop, lacks_start=lacks_start
    )


def counted(num: int, thing: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{num} {thing}{'s' * (num != 1)}"


def worker_text(need: ResourcesConfig) -> str:
    """The resources of one training for people, such as `2 workers with 1 CPU`."""
    few, many = need.min_workers, need.max_workers
    count = counted(many, "worker") if few == many else f"{few} to {many} workers"
    return f"{count} with {need.cpus} CPU" + f", {need.gpus:g} GPU" * bool(need.gpus)


def ended(
    experiment: Experiment, rounds: Sequence[RoundRecord], decided: Stop | None
) -> tuple[Sequence[RoundRecord], Stop | None]:
    """The rounds that count, and the stop that ended them.

    The lottery's rule is applied anew to the rounds under today's `tolerance`, and its stored decisions are ignored.
    So a study whose tolerance is raised goes on.

    Args:
        experiment: the experiment, with its `lottery` section.
        rounds: its finished rounds 0, 1, ... in their order.
        decided: the stop that a scheduler or a budget has decided; None if it has decided none.

    Returns:
        The rounds up to the earlier of both stops, and that stop. The stop is None where nothing lies beyond it, or
        where a round before it is lost and has to be trained again.
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
    """A stop for people, such as `stopped by asha after round 2`."""
    return f"stopped by {stop.by} " + (f"after round {stop.round}" if stop.round >= 0 else "before round 0")


def final_runs_awaiting_choice(plan: Plan) -> Counter[str]:
    """How many final runs are still to come, by dataset and method entry."""
    return Counter(f"{each.dataset_label}/{entry_label(each.method)}" for each in plan.awaiting_choice)


def describe(plan: Plan, study: Study) -> str:
    """The plan as text: what is done, what is to be done, and the resources that each experiment needs."""
    width = max(len(item.experiment.name) for item in plan.items)
    needed = worker_text(study.resources)
    rounds_at_most = plan.num_rounds + sum(stand_in.num_rounds for stand_in in plan.awaiting_choice)
    num_experiments = len(plan.items) + len(plan.awaiting_choice)
    lines = [
        f"study {study.study}: {counted(num_experiments, 'experiment')}, {counted(rounds_at_most, 'round')} at most"
    ]
    for item in plan.items:
        state = f"needs {needed}" if not item.is_finished else stopped(item.stop) if item.stop else "done"
        rounds = f"rounds {len(item.rounds)}/{item.experiment.num_rounds}"
        controls = (item.experiment.num_rounds - 1) * len(item.experiment.controls)
        rounds += f"  controls {len(item.controls)}/{controls}" * bool(controls)
        lines.append(f"  {item.experiment.name:<{width}}  {rounds:<12} {state}")
    for label, num in final_runs_awaiting_choice(plan).items():
        lines.append(f"  {label}: {counted(num, 'final run')} once its setting is chosen")
    done, left = plan.num_done_rounds, len(plan.pending)
    lines.append(f"{counted(done, 'round')} {'is' if done == 1 else 'are'} done, {counted(left, 'experiment')} to run")
    return "\n".join(lines)

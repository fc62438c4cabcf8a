"""Ray Tune's two seams: its searcher starts trials, its scheduler lets them go on.

Both ask `TrainingOrder` and decide nothing.

One Tune trial is one training interval of one experiment: it trains from the first round that the store lacks and
reports each. A trial that may not go on is stopped; its experiment comes back in a trial of its own when its next
training interval is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from lion_ray.experiments import Experiment
from lion_ray.schedule.order import TrainingOrder
from lion_ray.store import StorageError

OnStorage = Callable[[StorageError], None]


class IntervalSearcher(Searcher):  # type: ignore[misc]
    """Gives Tune the next training interval whenever there is room for one.

    `before` is called with the experiment of each, `after` with its name when its trial has ended.

    `on_storage` is called when a decision cannot be stored; it has to halt the sweep.
    """

    def __init__(
        self,
        order: TrainingOrder,
        *,
        before: Callable[[Experiment], None],
        after: Callable[[str], None],
        on_storage: OnStorage,
    ) -> None:
        super().__init__(metric="val_accuracy", mode="max")
        self._order, self._before, self._after, self._on_storage = order, before, after, on_storage
        self._experiments: dict[str, str] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **_: Any) -> bool:
        """Nothing is searched."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The trial's `experiment`, by name; None if there is nobody to start now."""
        finished: str = Searcher.FINISHED
        try:
            if self._order.is_over:
                return finished
            experiment = self._order.next()
        except StorageError as error:
            self._on_storage(error)
            return finished
        if experiment is None:
            return None
        self._before(experiment)
        self._experiments[trial_id] = experiment.name
        return {"experiment": experiment.name}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The trial has come to its end; one whose process died, and that Tune starts again, has not."""
        name = self._experiments.pop(trial_id)
        try:
            self._order.on_end(name)
            self._after(name)
        except StorageError as error:
            self._on_storage(error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class IntervalScheduler(FIFOScheduler):  # type: ignore[misc]
    """Lets a trial go on, or ends its training interval."""

    def __init__(self, order: TrainingOrder, *, on_storage: OnStorage) -> None:
        super().__init__()
        self._order, self._on_storage = order, on_storage

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """One round more."""
        number, val_accuracy = int(result["round"]), float(result["val_accuracy"])
        try:
            goes_on = self._order.on_round(trial.config["experiment"], number, val_accuracy)
        except StorageError as error:
            self._on_storage(error)
            goes_on = False
        decision: str = self.CONTINUE if goes_on else self.STOP
        return decision

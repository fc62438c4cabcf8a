"""One study with SIGKILLs on the way, from its first driver to the one that ends it. `campaign` plays many."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Sequence
from typing import Any

from lion_ray.store import Store
from tests.faults import evidence
from tests.faults.driver import Driver
from tests.faults.logged_proxy import read_log
from tests.faults.stage import BUCKET, Stage, kill

GIVE_UP_SECONDS = 30.0  # after the head's end
MOMENTS = (0.5, 12.0)  # seconds from one kill to the next, when the cluster is whole again
PAUSES = (1.0, 4.0)  # before what was killed comes back
TARGET_SECONDS, HANG_SECONDS, MOST_DRIVERS = 60.0, 180.0, 40


@dataclasses.dataclass
class Kill:
    """One SIGKILL. `status` is the driver's, if that ended before the next kill; `at` is in seconds of the epoch."""

    target: str
    at: float
    status: int | None = None


class Play:
    """One study from its first driver to the one that ends it, with kills on the way."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        settings: Sequence[str],
        deck: Sequence[str],
        seed: str,
        moments: tuple[float, float] = MOMENTS,
        pauses: tuple[float, float] = PAUSES,
    ) -> None:
        self.stage, self.deck = stage, deck
        self.url = f"s3://{BUCKET}/{name}"
        self.settings = [f"storage={self.url}", *settings]
        self.kills: list[Kill] = []
        self.drivers: list[Driver] = []
        self.hangs, self.ended_by_us = 0, 0
        self._draw, self._moments, self._pauses = random.Random(seed), moments, pauses

    def run(self) -> dict[str, Any]:
        """Play to the end; the record of it, JSON throughout."""
        began = time.time()
        self._start()
        while True:
            if self.drivers[-1].ends_within(self._draw.uniform(*self._moments)):
                if self._note_end() == 0:
                    return self._record(began)
                self._start()
            elif self.drivers[-1].silent_for > HANG_SECONDS:
                self._hang()
            elif len(self.kills) < len(self.deck):
                self._strike(self.deck[len(self.kills)])

    def _start(self) -> None:
        assert len(self.drivers) < MOST_DRIVERS, f"{self.url} does not come to its end"
        self.drivers.append(self.stage.drive(*self.settings))

    def _note_end(self) -> int:
        """The driver's exit status, told of the kill before it."""
        status = self.drivers[-1].status
        if self.kills and self.kills[-1].status is None:
            self.kills[-1].status = status
        say(f"      {self.url}: the driver has ended with {status}")
        return status

    def _strike(self, target: str) -> None:
        """Kill one of the target's processes as soon as there is one, and bring back what has to be brought back."""
        pause, deadline = self._draw.uniform(*self._pauses), time.monotonic() + TARGET_SECONDS
        while not (found := self._find(target)):
            if self.drivers[-1].ends_within(0.1) or time.monotonic() > deadline:
                return
        kill(self._draw.choice(sorted(found)))
        self.kills.append(Kill(target=target, at=time.time()))
        say(f"kill  {self.url} {len(self.kills)}/{len(self.deck)}: {target}")
        self.stage.mend(target, pause)
        if target == "head":
            if not self.drivers[-1].ends_within(GIVE_UP_SECONDS):  # Ray takes minutes to see that no cluster answers
                self.ended_by_us += 1
                self.drivers[-1].kill()
            self.stage.restart_cluster()

    def _find(self, target: str) -> list[int]:
        return [self.drivers[-1].process.pid] if target == "driver" else self.stage.find(target)

    def _hang(self) -> None:
        say(f"      HANG: the driver neither ends nor goes on; its last line: {self.drivers[-1].lines[-1:]}")
        self.hangs += 1
        self.drivers[-1].kill()

    def _record(self, began: float) -> dict[str, Any]:
        trained = evidence.trainings(read_log(self.stage.log), self.url.removeprefix("s3://"))
        epochs = [epoch for driver in self.drivers for epoch in driver.epochs]
        return {
            "url": self.url,
            "seconds": time.time() - began,
            "drivers": len(self.drivers),
            "hangs": self.hangs,
            "ended_by_us": self.ended_by_us,
            "kills": self._told([at for at, _ in epochs]),
            "epochs_told": len(epochs),
            "epochs": len({name for _, name in epochs}),
            "remains": evidence.remains(Store(f"{self.url}/smoke")),
            **dataclasses.asdict(trained),
        }

    def _told(self, epochs: Sequence[float]) -> list[dict[str, Any]]:
        """The kills, with the seconds to the next epoch where that came before the next kill."""
        nexts = [*(each.at for each in self.kills[1:]), math.inf][: len(self.kills)]
        after = [
            next((at - each.at for at in epochs if each.at < at < following), None)
            for each, following in zip(self.kills, nexts, strict=True)
        ]
        return [
            {"target": each.target, "status": each.status, "seconds_to_next_epoch": seconds}
            for each, seconds in zip(self.kills, after, strict=True)
        ]


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

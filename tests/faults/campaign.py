"""A hundred SIGKILLs of a real study on two raylets with S3, seeded; after each, the same command again.

python -m tests.faults.campaign --kills 100 --seed 0

Targets: the driver, a trial's process, a Train worker, the raylet of the second node (a new one joins), that of the
head (a new cluster), the proxy before the S3 server (a new one on its port). Studies follow one another, with one
worker per experiment and with two, until there were enough kills; each is held against an undisturbed one. `--folder`
keeps the logs and a record per ended study: the same command goes on there after an interruption.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec

from lion_ray.store import Store
from tests.faults import evidence
from tests.faults.driver import Driver
from tests.faults.figures import figures, table
from tests.faults.logged_proxy import read_log
from tests.faults.stage import BUCKET, Stage, kill, stage

MNIST = "{name: mnist, num_train: 64, num_val: 32, num_test: 32}"
SETTINGS: Mapping[int, Sequence[str]] = {
    1: ["train.epochs=16", "lottery.rounds=3"],
    2: ["train.epochs=12", "lottery.rounds=4", "methods=[lion]", f"datasets=[{MNIST}]", "resources.workers=2"],
}
DECK: Mapping[int, Sequence[str]] = {
    1: ["driver", "driver", "trial", "trial", "trial", "raylet", "proxy", "proxy"],
    2: ["driver", "trial", "worker", "worker", "worker", "raylet", "proxy"],
}
HEAD_EVERY = 4  # studies
GIVE_UP_SECONDS = 30.0  # after the head's end
MOMENTS = (0.5, 12.0)  # seconds from one kill to the next, when the cluster is whole again
PAUSES = (1.0, 4.0)  # before what was killed comes back
TARGET_SECONDS, HANG_SECONDS, MOST_DRIVERS = 60.0, 180.0, 40
KEPT = Path(__file__).parent / "campaign.json"


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
    ) -> None:
        self.stage, self.deck = stage, deck
        self.url = f"s3://{BUCKET}/{name}"
        self.settings = [f"storage={self.url}", *settings]
        self.kills: list[Kill] = []
        self.drivers: list[Driver] = []
        self.hangs, self.ended_by_us = 0, 0
        self._draw, self._moments = random.Random(seed), moments

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
        pause, deadline = self._draw.uniform(*PAUSES), time.monotonic() + TARGET_SECONDS
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
            "kills": [self._told(each, [at for at, _ in epochs]) for each in self.kills],
            "epochs_told": len(epochs),
            "epochs": len({name for _, name in epochs}),
            "remains": evidence.remains(Store(f"{self.url}/smoke")),
            **dataclasses.asdict(trained),
        }

    def _told(self, each: Kill, epochs: Sequence[float]) -> dict[str, Any]:
        after = next((at - each.at for at in epochs if at > each.at), None)
        return {"target": each.target, "status": each.status, "seconds_to_next_epoch": after}


def play_all(stage: Stage, *, kills: int, seed: int, records: list[dict[str, Any]], kept: Path | None = None) -> None:
    """Undisturbed runs of each kind, then studies with kills until there were enough; appends to `records`."""
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(BUCKET)
    whole = {workers: Play(stage, f"whole-{workers}", SETTINGS[workers], [], "0").run() for workers in SETTINGS}
    say(f"undisturbed: {[round(each['seconds'], 1) for each in whole.values()]} s")
    while sum(len(each["kills"]) for each in records) < kills:
        number = len(records)
        workers = 1 + number % 2
        records.append(
            play(stage, f"{number}", workers, deck(workers, number, seed), f"{seed}/{number}", whole[workers])
        )
        say(f"study {number}: " + json.dumps({name: records[-1][name] for name in SHOWN}))
        if kept:
            with kept.open("a") as out:
                print(json.dumps(records[-1]), file=out)


SHOWN = ("workers", "seconds", "drivers", "rounds", "begun", "resumed", "begun_after_done", "done_twice", "different")


def play(
    stage: Stage, name: str, workers: int, deck: Sequence[str], seed: str, whole: Mapping[str, Any]
) -> dict[str, Any]:
    """One study with kills, compared with the undisturbed one."""
    record = Play(stage, name, SETTINGS[workers], deck, seed).run()
    stores = [Store(f"{each['url']}/smoke") for each in (record, whole)]
    lost = {"undisturbed": whole["seconds"], "different": evidence.differences(*stores)}
    return {"workers": workers, **record, **lost}


def deck(workers: int, number: int, seed: int) -> list[str]:
    """The targets of a study in their order."""
    targets = [*DECK[workers], *(["head"] if number % HEAD_EVERY == HEAD_EVERY // 2 else [])]
    random.Random(f"deck/{seed}/{number}").shuffle(targets)
    return targets


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> int:
    """Play, print the figures, write them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/lion-faults"), help="short: it holds sockets")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave nothing running
    options.folder.mkdir(parents=True, exist_ok=True)
    kept = options.folder / "records.jsonl"
    records = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    with stage(options.folder / f"{len(records)}-{time.time():.0f}") as made:
        play_all(made, kills=options.kills, seed=options.seed, records=records, kept=kept)
    processes, files = made.leftovers()
    command = f"python -m tests.faults.campaign --kills {options.kills} --seed {options.seed}"
    found = {"command": command, **figures(records), "processes_left": processes, "files_left": files}
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    return 1 if found["violations"] or processes or files else 0


if __name__ == "__main__":
    sys.exit(main())

"""A hundred SIGKILLs of a real study on two raylets with S3, seeded; after each, the same command again.

python -m tests.faults.campaign --kills 100 --seed 0

Targets: the driver, a trial's process, a Train worker, the raylet of the second node (a new one joins), that of the
head (a new cluster), the proxy before the S3 server (a new one on its port). Studies follow one another, with one
worker per experiment and with two, until there were enough kills; each is held against an undisturbed one. `--folder`
keeps the logs and a record per ended study: the same command goes on there after an interruption.
"""

from __future__ import annotations

import argparse
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
from tests.faults.figures import figures, table
from tests.faults.play import Play, say
from tests.faults.stage import BUCKET, Stage, stage

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
KEPT = Path(__file__).parent / "campaign.json"


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

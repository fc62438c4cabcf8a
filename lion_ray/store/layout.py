"""Every path below a study's folder, once. `docs/study_folder.md` says who writes each and when.

A study lies at `<storage>/<study>`. All other rooms take its paths from here; a test runs a study and holds that
nothing else lies there afterwards.
"""

from __future__ import annotations

import re

REQUEST = "request.json"  # the study as it was last run, and the experiments that its file names
FAILURES = "failures.json"  # why experiments failed in the last run
DRIVER = "driver.json"  # the lease of the driver that runs the study
RESULTS = "results.parquet"  # a row for each finished round
REPORT = "report"  # the folder of the page and its tables

BACKBONES, STAGED = "backbone", "weights"  # which weights a study's section stands for; the weights
RESOLVED, WEIGHTS = "resolved.json", "weights.safetensors"

EXPERIMENTS = "experiments"
DONE = "DONE"  # the marker of an artifact, written last; it lists every file's SHA-256 and size
CLOCK = "clock.json"  # times, host and process of a round; no part of what `DONE` lists
START, EXPERIMENT = "start.safetensors", "experiment.json"
TICKET, RESULT = "ticket.safetensors", "result.json"
STATE, SCORES = "point.safetensors", "scores.safetensors"  # what later rounds start from and are pruned by
CHECKPOINT = "partial.safetensors"  # of a round that is not finished

INDEX, SHARDS = "index", "shards"
CHOICES = "choices"
DIVERGED = f"{CHOICES}/diverged"
SCHEDULE = "schedule"
CHECKS = "checks"


def backbone(digest: str) -> str:
    """The folder of what a backbone section stands for; `digest` is that of the section."""
    return f"{BACKBONES}/{digest}"


def staged(digest: str) -> str:
    """The folder of a backbone's weights; `digest` is theirs."""
    return f"{STAGED}/{digest}"


def experiment(name: str) -> str:
    """An experiment's folder."""
    return f"{EXPERIMENTS}/{name}"


def start(name: str) -> str:
    """The folder of the weights that every round of an experiment rewinds to."""
    return f"{experiment(name)}/start"


def round_of(name: str, number: int, control: str = "") -> str:
    """The folder of a round of an experiment, or of a control that was trained beside it."""
    return f"{experiment(name)}/round-{number}" + (f"-{control}" if control else "")


def index_entry(name: str) -> str:
    """What was read and verified of one experiment."""
    return f"{INDEX}/{name}.json"


def index_shard(digest: str) -> str:
    """Many index entries in one compressed file; `digest` is the SHA-256 of the file."""
    return f"{SHARDS}/{digest}.json.z"


def choice(dataset: str, method: str, digest: str) -> str:
    """The setting that is chosen for a dataset and method entry; `digest` is that of how it is chosen."""
    return f"{CHOICES}/{dataset}-{method}-{digest}.json"


def diverged(name: str) -> str:
    """The search trial `name` has diverged, and why."""
    return f"{DIVERGED}/{name}.json"


def decisions(scheduler: str, digest: str) -> str:
    """The folder of what a scheduler decides; `digest` is that of the study's scheduler section."""
    return f"{SCHEDULE}/{scheduler}-{digest}"


def check(digest: str) -> str:
    """A method has passed its check on a backbone; `digest` is that of both."""
    return f"{CHECKS}/{digest}.json"


_NAME = r"[^/]+"
_OF_A_ROUND = "|".join((DONE, CLOCK, TICKET, RESULT, STATE, SCORES, CHECKPOINT))
_KNOWN = re.compile(
    "|".join(
        (
            *map(re.escape, (REQUEST, FAILURES, DRIVER, RESULTS)),
            rf"{REPORT}/.+",
            rf"{BACKBONES}/{_NAME}/(?:{DONE}|{RESOLVED})",
            rf"{STAGED}/{_NAME}/(?:{DONE}|{WEIGHTS})",
            rf"{EXPERIMENTS}/{_NAME}/start/(?:{DONE}|{START}|{EXPERIMENT})",
            rf"{EXPERIMENTS}/{_NAME}/round-\d+(?:-{_NAME})?/(?:{_OF_A_ROUND})",
            rf"{INDEX}/{_NAME}\.json",
            rf"{SHARDS}/{_NAME}\.json\.z",
            rf"{CHOICES}/(?:diverged/)?{_NAME}\.json",
            rf"{SCHEDULE}/{_NAME}/{_NAME}\.json",
            rf"{CHECKS}/{_NAME}\.json",
        )
    )
)


def is_known(path: str) -> bool:
    """Whether a path relative to a study's folder is one of these."""
    return _KNOWN.fullmatch(path) is not None

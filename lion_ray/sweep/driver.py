"""A study from its file to its report: what `pipeline` runs once the command line is read.

Study file -> experiments -> plan against the store -> sweep on Ray -> report. Running, resuming and extending a study
are the same command.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lion_ray import backbones, config, job, methods, report
from lion_ray.config import Study, StudyError, nearest
from lion_ray.experiments import expand
from lion_ray.store import Lease, Store, canonical, layout, remove_dead_lease
from lion_ray.study import request
from lion_ray.study.plan import Plan, describe
from lion_ray.study.search_groups import Stages
from lion_ray.sweep import method_trials
from lion_ray.sweep.address import cluster_address

FAILED = 1


def run(path: str, *, overrides: Sequence[str] = (), dry_run: bool = False, verify: bool = False) -> int:
    """Plan, sweep what is pending, report.

    Raises:
        StudyError: anything in the study that a user has to mend; nothing has been started.
        OSError: the storage cannot be read or written.
    """
    file = find_study(path)
    study = config.load(file, overrides)
    store = open_store(study, source=str(file))
    backbone = backbones.resolve(study.backbone, store, source=str(file))
    with _no_collection():
        notes: list[str] = []
        experiments = expand(study, backbone, source=str(file), on_note=notes.append)
        stages = Stages(experiments, study)
        plan = stages.plan(store, verify=verify, keep=not dry_run)
    if plan.pending:
        cluster_address()
        _check_methods(study, backbone, store, source=str(file), is_dry=dry_run)
    print("\n".join([*notes, describe(plan, study)]))
    if job.is_submitted() and "://" not in study.storage and not Path(study.storage).expanduser().is_absolute():
        print(f"WARNING storage {study.storage} is in the folder of this job, which Ray deletes in time: name a URL")
    if verify:
        store.load(backbone.key)  # a warning if it is damaged; made again when something is trained
        print("verified: every artifact was read and compared with its digest; a warning names each that is damaged")
    if dry_run:
        _preview(plan, study, source=str(file))
        return 0
    failures: dict[str, str] = {}
    if plan.pending:
        with Lease(store) as lease:  # a storage that refuses says so here, and so does another driver
            request.record(store, study, experiments)
            request.record_failures(store, {})
            backbone = backbones.stage(backbone, store, source=str(file))
            from lion_ray.sweep.run import run_sweep

            failures = run_sweep(plan, stages, study, store, backbone, lease=lease, source=str(file))
            request.record_failures(store, failures)
            plan = stages.plan(store)
    else:
        request.record(store, study, experiments)
        remove_dead_lease(store)
        print("nothing to do: every round is in the store")
    with _no_collection():
        print(report.write(plan, study, store, failures))
    if plan.pending and not failures:
        raise KeyboardInterrupt  # Tune takes Ctrl-C for itself and ends the sweep early
    chooses_nothing = plan.awaiting_choice and not study.scheduler.budget  # every setting of a search diverged
    return FAILED if failures or chooses_nothing else 0


def _preview(plan: Plan, study: Study, *, source: str) -> None:
    """Whether the cluster, or else this machine, has what an experiment needs."""
    need = study.resources
    fits_anywhere = need.min_workers == need.cpus == 1 and not need.gpus
    if not plan.pending or (fits_anywhere and cluster_address() is None):
        return
    from lion_ray.sweep import cluster

    lacking = cluster.preview(need, source=source)
    if lacking:
        print(f"WARNING {lacking}")


def _check_methods(
    study: Study, backbone: backbones.Resolved, store: Store, *, source: str, is_dry: bool = False
) -> None:
    """Have every method tried on the backbone, but what has passed before in this study."""
    passed = set(store.listing(layout.CHECKS))

    def write_down(digest: str) -> None:
        if not is_dry:
            store.write(layout.check(digest), b"{}")

    methods.check(
        study.methods,
        method_trials.trials(study, source=source, is_dry=is_dry),
        source=source,
        backbone={"name": backbone.name, **dataclasses.asdict(backbone.transform), **study.backbone.model_dump()},
        has_passed=lambda digest: layout.check(digest) in passed,
        on_passed=write_down,
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """All that is made here stays: to look for garbage among 10,000 experiments took a quarter of their plan."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def find_study(path: str) -> Path:
    """The file at `path`; a bare name that is no file here is looked up among the shipped studies.

    Raises:
        StudyError: neither.
    """
    if Path(path).exists() or Path(path).name != path:
        return Path(path)
    shipped = {file.name: file for file in _shipped_folder().glob("*.yaml")}
    if path not in shipped:
        raise StudyError(path, "", f"no such file here or among the shipped studies; {nearest(path, shipped)}")
    return shipped[path]


def open_store(study: Study, *, source: str) -> Store:
    """The study's store.

    Raises:
        StudyError: a URL that no filesystem takes, or whose package is not installed.
    """
    try:
        return Store(f"{canonical(study.storage).rstrip('/')}/{study.study}")
    except (ValueError, ImportError) as error:
        raise StudyError(source, "storage", f"'{study.storage}' cannot be used: {error}") from error


def _shipped_folder() -> Path:
    """Inside the package in an installed wheel, beside it in a source tree."""
    package = Path(__file__).parent.parent
    return package / "_pipelines" if (package / "_pipelines").is_dir() else package.parent / "pipelines"

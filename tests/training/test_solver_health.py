"""A run whose equilibria were not reached says so, in its metrics and in the text that ends it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lion_ray import config, report
from lion_ray.report import formatting
from lion_ray.store import Store
from lion_ray.study.plan import Plan, make_plan
from lion_ray.training import solver_health
from tests.support.small_runs import experiment, run


def test_the_health_of_all_workers_counts() -> None:
    parts = []
    for samples, share, highest in ((30.0, 0.0, 1e-5), (10.0, 0.4, 2.0)):
        figures = {
            "num_samples": samples,
            "num_nonfinite": share * samples / 2,
            "share_unconverged": share,
            "residual_max": highest,
        }
        parts.append({f"p.{name}{suffix}": value for name, value in figures.items() for suffix in ("", "_backward")})
    merged = solver_health.merged(parts)
    for suffix in ("", "_backward"):
        assert merged[f"p.num_samples{suffix}"] == 40
        assert merged[f"p.share_unconverged{suffix}"] == pytest.approx(0.1)
        assert merged[f"p.residual_max{suffix}"] == 2.0
    summary = solver_health.summary([merged, {}])
    assert (summary.num, summary.num_nonfinite, summary.residual_max) == (80, 4, 2.0)
    assert summary.share_unconverged == pytest.approx(0.1)


def ends_with(study_file: Path, tmp_path: Path, method: str) -> str:
    """The last words of a sweep with one LION experiment of one round."""
    overrides = [f"methods=[{method}]", "lottery.rounds=1", "train.epochs=1"]
    chosen, store = experiment(study_file, *overrides), Store(str(tmp_path / "store"))
    run(chosen, store)
    return report.write(make_plan([chosen], store), config.load(study_file, overrides), store, {})


def test_a_run_that_did_not_converge_says_so_loudly_at_its_end(study_file: Path, tmp_path: Path) -> None:
    text = ends_with(study_file, tmp_path, "{name: lion, output: false, gamma: null, max_steps: 1, tolerance: 1.0e-6}")
    lines = [line for line in text.splitlines() if line.startswith("UNCONVERGED")]
    assert len(lines) == 1
    # 48 training images forward and backward, 24 for validation and 24 for the test; V starts at zero and so does
    # what comes back in the first of three steps, which is solved at once.
    assert "seed 0 round 0: 88.9% of 144 equilibrium solves, worst residual" in lines[0]


def test_a_run_that_converged_says_nothing(study_file: Path, tmp_path: Path) -> None:
    assert "UNCONVERGED" not in ends_with(study_file, tmp_path, "{name: lion, output: false}")


def test_solves_that_are_not_finite_are_counted_in_the_last_words(study_file: Path, tmp_path: Path) -> None:
    # The residual that is named is the worst finite one: alone it would make a run of NaN look almost solved.
    overrides = ["methods=[{name: lion, output: false}]", "lottery.rounds=1", "train.epochs=1"]
    chosen, store = experiment(study_file, *overrides), Store(str(tmp_path / "store"))
    run(chosen, store)
    (item,) = make_plan([chosen], store).items
    solves = item.rounds[0].metrics.solves._replace(num=100, share_unconverged=0.25, num_nonfinite=25)
    metrics = dataclasses.replace(item.rounds[0].metrics, solves=solves)
    broken = dataclasses.replace(item, rounds=(dataclasses.replace(item.rounds[0], metrics=metrics),))
    (line,) = formatting.unconverged(Plan(items=[broken]))
    assert "25.0% of 100 equilibrium solves, 25 of them not finite, worst residual" in line

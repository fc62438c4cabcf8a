"""What a person reads while a sweep runs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from lion_ray import config
from lion_ray.config import BudgetConfig
from lion_ray.console import clock
from lion_ray.experiments import Experiment, expand
from lion_ray.sweep.events import EpochDone
from lion_ray.sweep.progress import Progress

LABEL = "mnist(num_train=48, num_val=24, num_test=24)/lion seed 0"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def an_epoch(
    experiment: Experiment, number: int, ticket: str = "winning", epoch: int = 0, *, share_unconverged: float = 0.0
) -> EpochDone:
    """Ten seconds of training."""
    return EpochDone(
        experiment=experiment.name,
        round=number,
        ticket=ticket,
        epoch=epoch,
        loss=1.0,
        val_accuracy=0.875,
        density=0.5,
        seconds=10.0,
        share_unconverged=share_unconverged,
    )


def shown(study_file: Path, stream: io.StringIO, *, share_unconverged: float = 0.0) -> str:
    """Two rounds of two epochs, ten seconds apart, of an experiment with three rounds."""
    experiment = expand(config.load(study_file, ["methods=[lion]"]))[0]
    progress = Progress(experiments=[experiment], done={}, stream=stream, now=lambda: 0.0)
    for number in (0, 1):
        for epoch in (0, 1):
            progress.show(an_epoch(experiment, number, epoch=epoch, share_unconverged=share_unconverged))
    progress.finish()
    return stream.getvalue()


def test_a_log_has_a_line_per_epoch_without_control_codes(study_file: Path) -> None:
    lines = shown(study_file, io.StringIO()).splitlines()
    assert len(lines) == 4
    assert "\x1b" not in "".join(lines)
    assert f"0/1 done  all have 0 rounds  {LABEL}  round 0/2  epoch 1/2  loss 1.000  val 0.875" in lines[0]
    assert [line.rpartition("  left ")[2] for line in lines] == ["00:50", "00:40", "00:30", "00:20"]
    assert "all have 1 round  " in lines[1]


def test_a_terminal_keeps_the_lines_of_finished_rounds(study_file: Path) -> None:
    text = shown(study_file, Terminal())
    assert text.count("\n") == 2
    assert "\r\x1b[K" in text


@pytest.mark.parametrize("columns", [200, 120, 80, 60, 40])
def test_what_is_rewritten_in_place_fits_one_row_of_the_terminal(
    columns: int, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(study_file, Terminal())
    rewritten = [line for line in re.findall(r"\r\x1b\[K([^\r\n]*)(?=\r)", text) if line]
    assert len(rewritten) == 2
    assert all(len(line) < columns for line in rewritten)
    assert (LABEL in rewritten[0]) == (columns >= 120)
    assert "/lion seed 0  " in rewritten[0], "the method's name is what the row is about"
    if columns >= 80:
        assert rewritten[0].endswith("  round 0/2  epoch 1/2  val 0.875  left 00:50" if columns == 80 else "left 00:50")
        assert rewritten[0].startswith("00:00  0/1 done  ")


def test_solves_that_do_not_converge_are_said_loudly(study_file: Path) -> None:
    text = shown(study_file, io.StringIO(), share_unconverged=0.25)
    assert f"WARNING {LABEL}: 25.0% of the equilibrium solves did not converge" in text


def test_times_are_readable() -> None:
    assert [clock(value) for value in (0, 59.6, 61, 3600)] == ["00:00", "01:00", "01:01", "1:00:00"]


def test_who_is_stopped_while_it_trains_stays_done(study_file: Path) -> None:
    one, other = expand(config.load(study_file, ["methods=[lion]", "seeds=[0, 1]"]))
    progress = Progress(experiments=[one, other], done={}, stream=io.StringIO(), now=lambda: 0.0)
    progress.show(an_epoch(one, 0))
    progress.show_stop(one.name, "stopped by hyperband")
    progress.show(an_epoch(one, 1))  # two workers train on until they are gone
    assert "1/2 done" in progress.stream.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
    assert progress.seconds_left() == 6 * 10.0


def test_controls_that_are_asked_for_later_are_all_that_is_left(study_file: Path) -> None:
    (chosen,) = expand(config.load(study_file, ["methods=[lion]", "lottery.controls=[random_ticket, reinit]"]))
    done = {chosen.name: {(number, "winning") for number in range(3)} | {(1, "random_ticket")}}
    progress = Progress(experiments=[chosen], done=done, stream=io.StringIO(), now=lambda: 0.0)
    left = []
    for number, ticket in ((1, "reinit"), (2, "random_ticket"), (2, "reinit")):
        for epoch in (0, 1):
            progress.show(an_epoch(chosen, number, ticket, epoch))
            left.append(progress.seconds_left())
    assert left == [50.0, 40.0, 30.0, 20.0, 10.0, 0.0]


def test_the_time_left_is_no_more_than_the_budget_leaves(study_file: Path) -> None:
    chosen = expand(config.load(study_file, ["methods=[lion]", "seeds=[0, 1]"]))
    stored = {chosen[0].name: {(0, "winning")}, "finished before": {(0, "winning"), (1, "winning")}}

    def left(budget: BudgetConfig | None, seconds_before: float = 0.0) -> float | None:
        progress = Progress(
            experiments=chosen,
            done=stored,
            stream=io.StringIO(),
            now=lambda: 0.0,
            budget=budget,
            seconds_before=seconds_before,
        )
        progress.show(an_epoch(chosen[0], 1))
        return progress.seconds_left()

    assert left(None) == 90.0  # nine epochs, each of ten seconds
    assert left(BudgetConfig(rounds=100)) == 90.0
    assert left(BudgetConfig(rounds=5)) == pytest.approx(90.0 * 2 / 5)  # three rounds are done, five are wanted
    assert left(BudgetConfig(rounds=3)) == 0.0
    assert left(BudgetConfig(hours=1), seconds_before=3570.0) == 30.0
    assert left(BudgetConfig(hours=1, rounds=5)) == pytest.approx(36.0)

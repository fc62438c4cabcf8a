"""What a search chooses of its trials, on made-up accuracies."""

from __future__ import annotations

import random
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from lion_ray.store import Store
from lion_ray.study.choices import Choice, SearchTrial, choose
from tests.support.made_sweeps import experiment


def trial(lr: float, *accuracies: float, rounds: int = 3, ended_by: str | None = None, name: str = "") -> SearchTrial:
    made = experiment(name or f"lr-{lr:g}", rounds=rounds)
    train = made.train.model_copy(update={"lr": lr})
    return SearchTrial(
        experiment=type(made)(**{**vars(made), "train": train}), accuracies=accuracies, ended_by=ended_by
    )


def chosen(*trials: SearchTrial) -> str | None:
    choice = choose(trials)
    return None if choice is None else choice.trial


def test_the_best_last_epoch_accuracy_is_chosen_and_of_equals_the_smallest_rate_then_the_first() -> None:
    assert chosen(trial(0.1, 0.5), trial(0.01, 0.7), trial(0.001, 0.6)) == "lr-0.01"
    assert chosen(trial(0.1, 0.7), trial(0.001, 0.7), trial(0.01, 0.7)) == "lr-0.001"
    assert chosen(trial(0.1, 0.7, name="one"), trial(0.1, 0.7, name="other")) == "one"


def test_settings_are_compared_in_the_last_round_that_all_have() -> None:
    good, never_learns = trial(0.01, 0.9, 0.8, ended_by="lottery"), trial(1e-9, 0.1, 0.1, 0.1)
    choice = choose([good, never_learns])
    assert choice is not None
    assert (choice.trial, choice.rounds, choice.compared, choice.accuracy) == ("lr-0.01", 2, 1, 0.8)


def test_who_was_stopped_by_others_or_diverged_is_not_chosen() -> None:
    assert chosen(trial(0.1, 0.9, ended_by="asha"), trial(0.01, 0.5, 0.5, 0.5)) == "lr-0.01"
    assert chosen(trial(0.1, ended_by="divergence"), trial(0.01, 0.2, 0.2, 0.2)) == "lr-0.01"
    assert chosen(trial(0.1, 0.9, 0.9, 0.9, ended_by="asha"), trial(0.01, 0.5, ended_by="asha")) == "lr-0.1"
    assert chosen(trial(0.1, ended_by="divergence"), trial(0.01, ended_by="divergence")) is None


def test_a_search_that_a_budget_ended_chooses_nothing() -> None:
    assert chosen(trial(0.1, 0.9, 0.9, 0.9), trial(0.01, 0.5, ended_by="budget")) is None


@hypothesis.given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_trials_of_different_rates_does_not_matter(hits: list[int], draw: random.Random) -> None:
    trials = [trial(2.0**-place, correct / 4, rounds=1) for place, correct in enumerate(hits)]
    shuffled = draw.sample(trials, len(trials))
    assert choose(trials) == choose(shuffled)
    choice = choose(trials)
    assert choice is not None
    assert choice.accuracy == max(hits) / 4
    assert choice.trial == f"lr-{2.0 ** -max(place for place, correct in enumerate(hits) if correct == max(hits)):g}"


def test_a_choice_is_a_value(tmp_path: Path) -> None:
    from lion_ray.study.choices import read, write

    store = Store(str(tmp_path))
    choice = Choice(trial="t", setting={"train.lr": 0.1}, rounds=2, compared=1, accuracy=0.5, finals=((42, "n", "d"),))
    write(store, "choices/x.json", choice)
    assert read(store, "choices/x.json") == choice

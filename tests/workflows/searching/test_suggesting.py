"""The next values: a function of the trials, within limits, and never the same point twice."""

import pytest

from kdbench.recipe.sweeps.goal import goal_of
from kdbench.recipe.sweeps.search import Range
from kdbench.workflows.searching.suggesting import PastTrial, suggest_values

pytest.importorskip("optuna")

AXES = {"x": Range(low=0.0, high=10.0), "lr": Range(low=1e-4, high=1e-1, log=True), "widths": ([8], [16], [32])}
GOAL = goal_of("max top1 where size_bytes <= 20 kB")


def tried(values):
    width = values["widths"][0]
    return PastTrial(values, score=width / 100 - abs(values["x"] - 7) / 20, excess=[(1000 * width - 20_000) / 20_000])


def searched(trials, axes=AXES):
    past = []
    for number in range(trials):
        past.append(tried(suggest_values(axes, GOAL, past, number, 0)))
    return past


def test_it_learns_the_goal_and_the_limit():
    trials = searched(30)
    later = trials[15:]
    assert sum(trial.excess[0] <= 0 for trial in later) > 0.6 * len(later), "a third of the widths is too large"
    best = max((trial for trial in trials if trial.excess[0] <= 0), key=lambda trial: trial.score)
    assert best.values["widths"] == [16]
    assert abs(best.values["x"] - 7) < 1
    assert all(1e-4 <= trial.values["lr"] <= 1e-1 for trial in trials)


def test_the_same_trials_give_the_same_values():
    trials = searched(12)
    running = [
        *trials,
        PastTrial({"x": 1.0, "lr": 0.01, "widths": [8]}),
        PastTrial({"x": 2.0, "lr": 0.01, "widths": [8]}, failed=True),
    ]
    pruned = [*running, PastTrial({"x": 3.0, "lr": 0.01, "widths": [8]}, score=0.1, epochs=2)]
    assert suggest_values(AXES, GOAL, pruned, 15, 0) == suggest_values(AXES, GOAL, list(pruned), 15, 0)
    assert suggest_values(AXES, GOAL, pruned, 15, 0) != suggest_values(AXES, GOAL, pruned, 15, 1)


def test_every_point_of_a_small_space_comes_once():
    axes = {"a": (1, 2), "b": Range(low=1, high=2)}
    trials = []
    while (values := suggest_values(axes, goal_of("max top1"), trials, len(trials), 0)) is not None:
        trials.append(PastTrial(values, score=0.5))
    assert sorted((trial.values["a"], trial.values["b"]) for trial in trials) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_values_of_an_earlier_wider_range_are_left_out():
    trials = [PastTrial({"x": 50.0, "lr": 0.01, "widths": [64]}, score=1.0, excess=[0])]
    assert 0 <= suggest_values(AXES, GOAL, trials, 1, 0)["x"] <= 10

"""Successive halving: the rule against Optuna's, and what counts as a competitor."""

import csv
import random
from types import SimpleNamespace

import pytest

from kdbench.recipe.sweeps.search import Search
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.searching.halving import Halving, PrunedError, first_rung, missed_threshold, pruning_of, rungs
from kdbench.workflows.searching.trials import Trial, Trials


def test_it_decides_as_optuna_does():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    dice = random.Random(3)
    for reduction, highest in ((2, True), (3, True), (3, False), (4, False)):
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=reduction)
        study = optuna.create_study(direction="maximize" if highest else "minimize", pruner=pruner)
        scores: list[float] = []
        for _ in range(40):
            score = dice.random()
            trial = study.ask()
            trial.report(score, 1)
            if len(scores) + 1 >= reduction:  # of fewer, Optuna lets the best continue, and here all do
                assert trial.should_prune() == (missed_threshold(score, scores, reduction, highest=highest) is not None)
            else:
                trial.should_prune()
                assert missed_threshold(score, scores, reduction, highest=highest) is None
            scores.append(score)


def test_rungs():
    assert list(rungs(2, 3, 20)) == [2, 6, 18]
    assert list(rungs(4, 3, 4)) == []
    assert first_rung(Search(goal="max top1"), 90) == 10
    assert first_rung(Search(goal="max top1"), 6) == 2
    assert first_rung(Search(goal="max top1", min_epochs=5), 90) == 5


def test_what_is_pruned():
    search = Search(goal="max top1 where size_bytes <= 20 kB")
    assert pruning_of(search, 0, 0, 20) is None, "others are measured beside the first trial's models"
    assert pruning_of(search, 1, 0, 2) is None, "no epochs between the rungs"
    assert pruning_of(search.model_copy(update={"prune": False}), 1, 0, 20) is None
    assert pruning_of(Search(goal="min size_bytes where top1 >= 0.9"), 1, 0, 20) is None
    assert pruning_of(search, 1, 0, 20) == {
        "number": 1, "place": 0, "column": "validation_top1", "highest": True, "limited": True, "epochs": [2, 6, 18],
        "reduction": 3,
    }  # fmt: skip


@pytest.fixture
def trials(tmp_path):
    return Trials(RunFolder(tmp_path))


def add(trials, number, scores, **known):
    name = f"kd-{number}"
    trials.write(Trial(number, {"x": number}, (name,), **known))
    folder = trials.folder.checkpoint(name)
    folder.mkdir(parents=True)
    with (folder / "curve.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["epoch", "validation_top1"], *enumerate(scores, start=1)])


def halving(trials, number=9, *, limited=False):
    trials.write(Trial(number, {"x": number}, (f"kd-{number}",)))
    return Halving(trials, number, 0, "validation_top1", highest=True, limited=limited, epochs=[2, 6], reduction=3)


def curve(*scores):
    return [SimpleNamespace(epoch=n, validation_top1=score) for n, score in enumerate(scores, start=1)]


def test_a_poor_training_ends_at_a_rung_and_its_trial_says_so(trials):
    for number, scores in enumerate([(0.5, 0.9), (0.8, 0.7), (0.4,)]):
        add(trials, number, scores)
    log = halving(trials)
    log.begin([])
    log.extend(curve(0.6))
    with pytest.raises(PrunedError, match="pruned after 2 epochs"):
        log.extend(curve(0.6, 0.7))
    assert trials.read(9).pruned == 2


def test_a_good_one_goes_on_and_few_competitors_end_nobody(trials):
    add(trials, 0, (0.5, 0.9))
    halving(trials).extend(curve(0.1, 0.1))
    add(trials, 1, (0.8, 0.7))
    halving(trials).extend(curve(0.1, 0.95))
    assert trials.read(9).pruned is None


def test_what_is_beyond_a_limit_or_not_measured_yet_ends_nobody(trials):
    for number in range(4):
        add(trials, number, (0.9, 0.99), excess=(0.5,))
    add(trials, 4, (0.9, 0.99))
    log = halving(trials, limited=True)
    log.extend(curve(0.1, 0.1))
    for number in (5, 6):
        add(trials, number, (0.4, 0.5), excess=(-0.5,))
    add(trials, 7, (0.2, 0.2), pruned=2)
    with pytest.raises(PrunedError):
        log.extend(curve(0.1, 0.1))


def test_an_interrupted_training_meets_its_last_rung_again(trials):
    for number in range(3):
        add(trials, number, (0.9, 0.9))
    with pytest.raises(PrunedError):
        halving(trials).begin(curve(0.1, 0.1, 0.1))

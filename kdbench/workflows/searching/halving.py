"""Asynchronous successive halving: which trainings of a search end early, by the curves on disk.

A training that reaches a rung, an epoch, continues if its best score so far is among the best 1/η of all trainings that
have reached that rung (Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, algorithm 2). It
does not wait for others and needs no server: any process that sees the folder can decide.

If the goal has limits, only trials that are known to meet them or were pruned count. Otherwise large models that exceed
a limit would end the trainings of small ones that meet it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from kdbench.recipe.sweeps.goal import VALIDATED, goal_of
from kdbench.recipe.sweeps.search import Search
from kdbench.results.cards import Epoch
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.searching.trials import Curves, Trial, Trials

_MIN_FIRST_RUNG = 2  # epochs, unless the recipe sets the first rung


class PrunedError(Exception):
    """A training that was ended early, after `epoch`."""

    def __init__(self, epoch: int, best: float, needed: float) -> None:
        super().__init__(f"pruned after {epoch} epochs: {best:.4g}; to continue it needed {needed:.4g}")
        self.epoch = epoch


def rungs(first: int, reduction: int, last: int) -> Iterator[int]:
    """Yield the epochs at which a training of `last` epochs may be ended: `first`, times `reduction`, and so on."""
    epoch = first
    while epoch < last:
        yield epoch
        epoch *= reduction


def first_rung(search: Search, epochs: int) -> int:
    """Return the epoch of the first rung: the recipe's, or else so that there are two or three of them."""
    return search.min_epochs or max(_MIN_FIRST_RUNG, epochs // search.reduction**2)


def missed_threshold(score: float, others_scores: Sequence[float], reduction: int, *, highest: bool) -> float | None:
    """Return None if a score is among the best 1/`reduction` at its rung, otherwise the score that it needs.

    If there are fewer than `reduction`, all continue.
    """
    ranked = sorted((score, *others_scores), reverse=highest)
    if len(ranked) < reduction:
        return None
    needed = ranked[len(ranked) // reduction - 1]
    return None if score == needed or (score > needed) == highest else needed


@dataclass
class Halving:
    """Receives the curve of one training, as a `CurveLog`; raises PrunedError if it must end.

    `number` is its trial's; `place` is the index of its seed among the trial's; `limited` says whether the goal has
    limits.
    """

    trials: Trials
    number: int
    place: int
    column: str
    highest: bool
    limited: bool
    epochs: Sequence[int]
    reduction: int

    def __post_init__(self) -> None:
        self._curves = Curves(self.trials.folder)

    @classmethod
    def of(cls, message: Mapping[str, Any], folder: Path) -> Self:
        """Return what a training's message (`pruning`) describes."""
        return cls(Trials(RunFolder(folder)), **message)

    def begin(self, curve: Sequence[Epoch]) -> None:
        """Decide at the last rung that an interrupted training has reached."""
        if reached := [epoch for epoch in self.epochs if epoch <= len(curve)]:
            self._decide(curve, reached[-1])

    def extend(self, curve: Sequence[Epoch]) -> None:
        """Decide at a rung."""
        if len(curve) in self.epochs:
            self._decide(curve, len(curve))

    def _decide(self, curve: Sequence[Epoch], epoch: int) -> None:
        best = max if self.highest else min
        score = best(getattr(row, self.column) for row in curve[:epoch])
        scores = []
        for trial in self.trials.all():
            if trial.number == self.number or self.place >= len(trial.trainings) or not self._counts(trial):
                continue
            values = self._curves.of(trial.trainings[self.place], self.column)
            if len(values) >= epoch:
                scores.append(best(values[:epoch]))
        needed = missed_threshold(score, scores, self.reduction, highest=self.highest)
        if needed is not None:
            self.trials.write(replace(self.trials.read(self.number), pruned=epoch))
            raise PrunedError(epoch, score, needed)

    def _counts(self, trial: Trial) -> bool:
        if trial.excess is None:
            return not self.limited or trial.pruned is not None
        return max(trial.excess, default=0.0) <= 0


def pruning_of(search: Search, number: int, place: int, epochs: int) -> dict[str, Any] | None:
    """Return the pruning settings in the message of a training; None if it is not pruned.

    The first trial is never pruned, because others are measured together with its models. Trainings for a goal other
    than a score are not pruned either.
    """
    goal = goal_of(search.goal)
    if not search.prune or number == 0 or not goal.number.is_score:
        return None
    at = list(rungs(first_rung(search, epochs), search.reduction, epochs))
    column = VALIDATED[goal.number.metric]
    direction = {"highest": goal.side == "max", "limited": bool(goal.limits)}
    options = {"column": column, **direction, "epochs": at, "reduction": search.reduction}
    return {"number": number, "place": place, **options} if at else None

"""The values of a search's next trial, by Optuna: a function of the trials before it, without a state of its own.

The tree-structured Parzen estimator (Bergstra et al. 2011) with constraints gets every trial again, and its random
numbers depend only on the trial's number. A resumed search therefore chooses like an uninterrupted one.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from kdbench import extras
from kdbench.data.selection import key_of
from kdbench.recipe.sweeps.goal import Goal
from kdbench.recipe.sweeps.search import Choices, Range, space_size

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

_TRIES = 20  # for values that were not tried yet


@dataclass(frozen=True)
class PastTrial:
    """A trial as the optimiser sees it.

    `score` is the goal's number; None while it runs, and if it `failed`. `excess` is how far each limit is exceeded;
    empty if unknown. A pruned trial has the number of `epochs` after which it ended, and its score at that time.
    """

    values: Mapping[str, Any]
    score: float | None = None
    excess: Sequence[float] = ()
    failed: bool = False
    epochs: int | None = None


def require_optuna() -> None:
    """Raise InputError, with the command that installs it, if Optuna is missing."""
    extras.require("search", "a search")


def suggest_values(
    axes: Mapping[str, Choices], goal: Goal, tried: Sequence[PastTrial], number: int, seed: int
) -> dict[str, Any] | None:
    """Return the values of trial `number`; None if every point of the space was tried."""
    known = {_text(trial.values) for trial in tried}
    size = space_size(axes)
    if size is not None and len(known) >= size:
        return None
    values: dict[str, Any] = {}
    for attempt in range(_TRIES):
        values = _sample(axes, goal, tried, key_of(seed, number, attempt) % 2**32)
        if _text(values) not in known:
            return values
    return values if size is None else next(point for point in _points(axes) if _text(point) not in known)


def _sample(axes: Mapping[str, Choices], goal: Goal, tried: Sequence[PastTrial], seed: int) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {key: _Axis(choices) for key, choices in axes.items()}
    excess: dict[int, Sequence[float]] = {}

    def constraints(trial: Any) -> Sequence[float]:
        return excess.get(trial.number) or [0.0] * len(goal.limits)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, about what it calls experimental
        sampler = optuna.samplers.TPESampler(
            seed=seed, constant_liar=True, constraints_func=constraints if goal.limits else None
        )
        study = optuna.create_study(direction="maximize" if goal.side == "max" else "minimize", sampler=sampler)
        distributions = {key: axis.distribution for key, axis in space.items()}
        for trial in tried:
            if not trial.failed and all(space[key].holds(value) for key, value in trial.values.items()):
                _add_trial(study, trial, space, distributions, excess)
        params = study.ask(distributions).params
    return {key: space[key].value(param) for key, param in params.items()}


def _add_trial(
    study: "Study",
    trial: PastTrial,
    space: "Mapping[str, _Axis]",
    distributions: "dict[str, BaseDistribution]",
    excess: dict[int, Sequence[float]],
) -> None:
    """Add a trial to the study; a running one stays open, so that others avoid its values."""
    import optuna

    study.enqueue_trial({key: space[key].param(value) for key, value in trial.values.items()})
    optuna_trial = study.ask(distributions)
    excess[optuna_trial.number] = trial.excess
    if trial.score is None or not math.isfinite(trial.score):
        return
    if trial.epochs is not None:
        optuna_trial.report(trial.score, trial.epochs)
        study.tell(optuna_trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(optuna_trial, trial.score)


@dataclass(frozen=True)
class _Axis:
    """An axis as a distribution of Optuna, and its values as parameters; listed values become their JSON texts."""

    choices: Choices
    texts: list[str] = field(init=False)

    def __post_init__(self) -> None:
        listed = () if isinstance(self.choices, Range) else self.choices
        object.__setattr__(self, "texts", [_text(value) for value in listed])

    @property
    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if not isinstance(self.choices, Range):
            return CategoricalDistribution(self.texts)
        low, high, step, log = self.choices.low, self.choices.high, self.choices.step, self.choices.log
        if self.choices.whole:
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))

    def holds(self, value: Any) -> bool:
        """Return whether the axis has a value: an earlier search in the folder may have had another range."""
        if not isinstance(self.choices, Range):
            return _text(value) in self.texts
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and bool(self.distribution._contains(value))  # noqa: SLF001 - what `enqueue_trial` would warn of

    def param(self, value: Any) -> Any:
        return value if isinstance(self.choices, Range) else _text(value)

    def value(self, param: Any) -> Any:
        if isinstance(self.choices, Range):
            return self.choices.rounded(param)
        return self.choices[self.texts.index(param)]


def _points(axes: Mapping[str, Choices]) -> Iterator[dict[str, Any]]:
    """Yield every point of a finite space."""
    values = []
    for choices in axes.values():
        if isinstance(choices, Range):
            step = choices.step or 1
            values.append([choices.rounded(choices.low + n * step) for n in range(choices.count or 0)])
        else:
            values.append(list(choices))
    for point in product(*values):
        yield dict(zip(axes, point, strict=True))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)

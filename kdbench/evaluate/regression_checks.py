"""The probable cause of a regression's large errors: predictions in another unit, or another order of targets."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.errors import Numbers, PredictedNumbers
from kdbench.results.records import Diagnostic

_FEW = 20  # samples that may well agree by chance
_FOLLOWS, _IGNORES = 0.5, 0.1  # squared correlations
_CONVERT = "convert them in the file, or save the targets in the unit that it predicts"
_REORDER = "save the targets in the order in which it predicts them"


def regression_warnings(models: Iterable[PredictedNumbers], targets: NDArray[np.floating]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each model whose predictions follow `targets` (N, D), but in another unit or order.

    A model that was trained on scaled targets, or on their logarithms, predicts these: its errors are worse than those
    of the targets' mean, although its predictions correlate with them. Models that kdbench made are left out: they
    were trained on the targets as they are.
    """
    exact = targets.astype(np.float64)
    for model in models:
        if model.card.made_by_kdbench or len(targets) < _FEW:
            continue
        names = model.card.targets or tuple(map(str, range(exact.shape[1])))
        correlations = _correlations(model.values, exact)
        message = _other_order(correlations, names)
        if message:
            yield Diagnostic(code="target_order", message=message, remedy=_REORDER, model=model.id)
        elif message := _other_unit(model.values, exact, correlations.diagonal(), names):
            yield Diagnostic(code="target_unit", message=message, remedy=_CONVERT, model=model.id)


def _correlations(values: Numbers, targets: Numbers) -> Numbers:
    """Return Pearson's r of every prediction with every target, (D, D); 0 for those that do not vary."""
    centred = [numbers - numbers.mean(axis=0) for numbers in (values, targets)]
    norms = [np.sqrt((numbers**2).sum(axis=0)) for numbers in centred]
    products, scale = centred[0].T @ centred[1], np.outer(*norms)
    return np.asarray(np.divide(products, scale, out=np.zeros_like(products), where=scale > 0))


def _other_order(correlations: Numbers, names: Sequence[str]) -> str:
    """Describe the first prediction that follows another target than its own; empty if there is none."""
    for own, row in enumerate(correlations):
        other = int(np.argmax(row**2))
        if row[own] ** 2 < _IGNORES and row[other] ** 2 >= _FOLLOWS:
            follows = f"follows the target {names[other]!r} (r = {row[other]:.2f})"
            return f"its prediction of {names[own]!r} {follows}, not its own (r = {row[own]:.2f})"
    return ""


def _other_unit(values: Numbers, targets: Numbers, correlations: Numbers, names: Sequence[str]) -> str:
    """Describe the first prediction that follows its target, with larger errors than its mean; empty without one."""
    variances = targets.var(axis=0)
    for column, r in enumerate(correlations):
        if r**2 < _FOLLOWS:
            continue
        determination = 1 - ((values[:, column] - targets[:, column]) ** 2).mean() / variances[column]
        if determination < 0:
            in_words = f"its predictions of {names[column]!r} follow the targets (r = {r:.2f}), but R² is"
            return f"{in_words} {determination:.3g}: they may be scaled, logarithms, or in another unit"
    return ""

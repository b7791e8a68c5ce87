"""Which output of a model holds its predictions: the named one, or the likeliest for the data's classes or targets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kdbench.errors import InputError
from kdbench.modelfile.graphs.outputs import NUMBERS_OF_CLASSES, Output

_AUXILIARY = "aux"  # in the names of outputs that only training uses, as those of GoogLeNet and Inception
_AS_INTEGERS = "save class numbers as integers, such as y.astype(int)"
_NAMES = ("logit", "prob", "score", "output", "pred")  # of outputs of one width, the likeliest first


def choose_output(outputs: Sequence[Output], name: str | None, classes: int | None, path: Path) -> Output:
    """Return the output `name`, or the one with `classes` classes (None: unknown).

    Raises InputError for an output that cannot be scored, and where several could be meant; while the classes are
    unknown, nothing is scored, and the likeliest will do.
    """
    listed = ", ".join(output.shown for output in outputs)
    if name is not None:
        matches = [output for output in outputs if output.name == name]
        if not matches:
            raise InputError(f"{path} has no output {name!r}", f"its outputs: {listed}")
        return _usable(matches[0], path, classes)
    usable = [output for output in outputs if output.unusable is None]
    matching = [output for output in usable if output.classes is not None and output.classes == classes]
    structured = next((output for output in outputs if output.unusable is not None and not output.shape), None)
    if structured is not None and not matching:  # the numbers of the best class next to it are not meant
        return _usable(structured, path, classes)
    if len(outputs) == 1:
        return _usable(outputs[0], path, classes)
    # An open width may be the right one; numbers of classes are second best.
    groups = [matching] if matching else _by_likelihood(usable, classes)
    candidates = next((group for group in groups if group), [])
    candidates = [output for output in candidates if not output.others] or candidates
    candidates = [output for output in candidates if _AUXILIARY not in output.name.lower()] or candidates
    if not candidates:
        wanted = "(batch, classes)" if classes is None else f"(batch, {classes})"
        message = f"{path}: none of its outputs ({listed}) has the shape {wanted}"
        raise InputError(message, "name the one to use: --output")
    if len(candidates) == 1:
        return candidates[0]
    named = ([output for output in candidates if part in output.name.lower()] for part in _NAMES)
    only = next((group[0] for group in named if len(group) == 1), None)
    if only is None and classes is not None:
        raise InputError(f"{path} has several outputs that could be the logits: {listed}", "name one with --output")
    return only or candidates[0]


def choose_numbers(outputs: Sequence[Output], name: str | None, targets: int, path: Path) -> Output:
    """Return the output `name`, or the only one with `targets` values a sample, as the predictions of a regression.

    Raises InputError where there is none, several could be meant, or the model is a classifier.
    """
    listed = ", ".join(output.shown for output in outputs)
    named = [output for output in outputs if name in {None, output.name}]
    if not named:
        raise InputError(f"{path} has no output {name!r}", f"its outputs: {listed}")
    fitting = [output for output in named if output.shape and output.width in {targets, None}]
    exact = [output for output in fitting if output.width == targets] or fitting
    if not exact:
        message = f"{path}: none of its outputs ({listed}) has the shape (batch, {targets}) of the data's targets"
        raise InputError(message, f"choose the data set that the model was made for; {_AS_INTEGERS}")
    if name is None and len(outputs) > 1 and all(output.form in NUMBERS_OF_CLASSES for output in exact):
        message = f"{path} is a classifier ({listed}), and the data's labels are floats: the targets of a regression"
        raise InputError(message, f"{_AS_INTEGERS}; to measure errors all the same, name the output: --output")
    if len(exact) > 1:
        raise InputError(f"{path} has several outputs of {targets} numbers: {listed}", "name one with --output")
    return replace(exact[0], form="numbers")


def _by_likelihood(usable: Sequence[Output], classes: int | None) -> list[list[Output]]:
    """Return groups of outputs that may be meant where none has the width of the classes, the likeliest first."""
    rows = [output for output in usable if output.form not in NUMBERS_OF_CLASSES]
    open_width = [output for output in rows if output.width is None]
    known = [output for output in rows if output.width is not None and len(output.shape) > 1]
    numbers = [output for output in usable if output.form in NUMBERS_OF_CLASSES and output.of_scores in {None, classes}]
    return [known, open_width, numbers] if classes is None else [open_width, numbers, known]


def _usable(output: Output, path: Path, classes: int | None) -> Output:
    """Return the output; raises InputError if it is no tensor, or cannot be scored while `classes` are known."""
    if output.unusable is not None and (classes is not None or not output.shape):
        reason, _, hint = output.unusable.partition(": ")
        raise InputError(f"{path}: output {output.name!r} {reason}", hint)
    return output

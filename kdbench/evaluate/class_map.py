"""The mapping from a model's outputs to the classes of the data, by the names of the classes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError

ABSENT = -1  # in place of an output: the model has none for this class, and no sample has the class
FAR_BELOW = 100.0  # below a row's smallest logit, so that the probability is practically 0
_MAX_SHOWN = 5  # names in a message
_MAX_NUMBERS = 1 << 62  # larger than any class's number
_NUMBERED = re.compile(r"\s*(\d{1,9})\s*:\s*(.+)")
_QUOTED = re.compile(r"\s*([\"'])(.+)\1\s*,?\s*")
_SYNSET = re.compile(r"\s*(n\d{8})[\s:]+(.+)")
_HINT = "give the names of the model's outputs in their order, one a line: --labels MODEL=FILE"


@dataclass(frozen=True)
class ClassMap:
    """The numbers of a model's outputs: `columns` for the classes of the data, in their order, then all `others`.

    A column is ABSENT where a class of the data has no output. `other_names` are the names of `others`, if known.
    `may_have_more` states whether a model whose number of outputs is unknown may have others besides these.
    """

    columns: tuple[int, ...]
    others: tuple[int, ...] = ()
    other_names: tuple[str, ...] = ()
    may_have_more: bool = False

    @property
    def meanings(self) -> tuple[str, ...]:
        """What each column stands for: a class of the data, nothing (empty), or another class of the model."""
        data_meanings = ("" if output == ABSENT else f"class {number}" for number, output in enumerate(self.columns))
        return (*data_meanings, *(self.other_names or map(str, self.others)))

    @property
    def is_identity(self) -> bool:
        """Whether the outputs already are in the order of the data's classes."""
        order = (*self.columns, *self.others)
        return order == tuple(range(len(order)))

    def for_width(self, returned: int, form: str, model: str) -> "ClassMap":
        """Return the map of all outputs of the model called `model`, which returned `returned` values a sample.

        `form` is that of `Predictions`. Raises InputError for another number of values than the model has outputs.
        """
        known = {*self.columns, *self.others} - {ABSENT}
        if form not in {"class", "ranking"}:
            if self.may_have_more and returned == len(self.columns):
                return ClassMap(tuple(range(returned)))
            if returned <= max(known) or (returned > len(known) and not self.may_have_more):
                message = f"{model} returns the scores of {returned} classes, not of {len(known)}"
                remedy = "choose the data set that the model was made for, or name its output: --output"
                raise InputError(message, remedy)
        # A model that returns class numbers has columns up to the largest number that it returned: the last known
        # classes may have no column, and unknown classes may have one.
        more = tuple(output for output in range(returned) if output not in known)
        names = (*self.other_names, *map(str, more)) if self.other_names else ()
        return replace(self, others=(*self.others, *more), other_names=names)

    def arranged(self, logits: NDArray[np.generic], form: str, model: str) -> NDArray[np.generic]:
        """Return `logits` (N, outputs) as (N, classes of the data + others), in the order of `for_width`."""
        whole, returned = self.for_width(logits.shape[1], form, model), logits.shape[1]
        order = np.array([*whole.columns, *whole.others])
        if returned <= order.max():
            logits = np.pad(logits, ((0, 0), (0, int(order.max()) + 1 - returned)))
        if whole.is_identity:
            return logits
        arranged, absent = logits[:, np.maximum(order, 0)], order == ABSENT
        if not absent.any():
            return arranged
        if arranged.dtype.kind != "f":  # scores of few bits have no number far below
            arranged = arranged.astype(np.float64)
        filling = 0 if form == "probabilities" and logits.min() >= 0 else logits.min(axis=1, keepdims=True) - FAR_BELOW
        return np.where(absent, np.asarray(filling, dtype=arranged.dtype), arranged)


def class_map(
    model: str,
    outputs: int | None,
    labels: Sequence[str] | None,
    class_names: Sequence[str],
    occurring: Sequence[int],
    *,
    inferred: bool,
) -> ClassMap:
    """Return the outputs of the model `model` for the classes of the data.

    The model has `outputs` (None: unknown) with the names `labels` (None: unknown). The data's classes are called
    `class_names`; those numbered `occurring` have samples. Names that are `inferred` only number the labels. Raises
    InputError for classes that cannot be distinguished or mapped.
    """
    if labels is not None and outputs is not None and len(labels) != outputs:
        raise InputError(f"{model} has {outputs} outputs, but {len(labels)} labels are given for them", _HINT)
    if labels is not None and not (inferred and _are_numbered(labels)):
        return _by_name(model, labels, class_names, occurring)
    if labels is not None:
        _require_order(model, labels)
    classes = len(class_names)
    numbers = [int(name) for name in class_names] if all(map(_is_number, class_names)) else []
    numbered = not inferred and numbers not in ([], list(range(classes)))
    if outputs is None and numbered:  # class numbers, or an output of open width
        return ClassMap(tuple(numbers), may_have_more=True)
    if outputs is None or outputs == classes or (inferred and outputs > classes):
        others = tuple(range(classes, outputs or classes))
        return ClassMap(tuple(range(classes)), others, may_have_more=inferred and outputs is None)
    if numbered and max(numbers) < outputs:
        return _with_others(numbers, range(outputs))
    has = f"at least {classes}" if inferred else str(classes)
    if inferred and outputs == classes - 1 and 0 not in occurring:
        message = f"{model} distinguishes {outputs} classes, and the labels count from 1 to {classes - 1}"
        raise InputError(message, f"save labels that count from 0, or {_HINT}: here 1 to {outputs}")
    message = f"{model} distinguishes {outputs} classes, but the data has {has}"
    raise InputError(message, f"choose the data set that the model was made for, or {_HINT}")


def _are_numbered(labels: Sequence[str]) -> bool:
    """Return whether labels agree with numbering: some are words, and those that are numbers equal their positions.

    True for "0", "1", …, "9", "A", …, which are in the order of the data's classes; False for "2", "0", "other", "1".
    """
    words = not all(map(_is_number, labels))
    return words and all(int(label) == place for place, label in enumerate(labels) if _is_number(label))


def _require_order(model: str, labels: Sequence[str]) -> None:
    """Raise InputError for labels of which each holds a number, from 0 or 1 on, that are in another order.

    "class_1", "class_10", "class_2" may be sorted as text, and "2: owl", "0: cat", "1: dog" name outputs or classes.
    """
    numbers = [int(found[0]) for label in labels if len(found := re.findall(r"[0-9]+", label)) == 1]
    ordered = sorted(numbers)
    counted = any(ordered == list(range(first, first + len(labels))) for first in (0, 1))
    if not counted or numbers == ordered:
        return
    place = next(place for place, number in enumerate(numbers) if number != ordered[place])
    message = (
        f"the labels of {model} hold numbers in another order than the outputs: output {place} is {labels[place]!r}"
    )
    remedy = "give only the numbers of the classes, in the order of the outputs, one a line: --labels MODEL=FILE"
    raise InputError(message, remedy)


def _by_name(model: str, labels: Sequence[str], class_names: Sequence[str], occurring: Sequence[int]) -> ClassMap:
    spelled, outputs = dict[str, list[int]](), dict[str, list[int]]()
    for number, label in enumerate(labels):
        spelled.setdefault(label.strip(), []).append(number)
        for name in _spellings(label, number):
            outputs.setdefault(name, []).append(number)
    columns, unknown = [], []
    for number, name in enumerate(class_names):
        alike = next((outputs[alias] for alias in _aliases(name) if alias in outputs), [])
        matches = spelled.get(name.strip(), alike)  # "c" and "C", or "-1" and "1", are told apart where both occur
        if len(matches) > 1:
            same_place = number in matches and len(labels) == len(class_names)
            if not same_place:
                message = f"{model} has several outputs called {name!r}: {', '.join(map(str, matches))}"
                raise InputError(message, "give each output a name of its own with --labels MODEL=FILE")
            matches = [number]
        columns.append(matches[0] if matches else ABSENT)
        if not matches and number in occurring:
            unknown.append(name)
    if unknown:
        shown = ", ".join(map(repr, unknown[:_MAX_SHOWN])) + (" …" if len(unknown) > _MAX_SHOWN else "")
        known = ", ".join(map(repr, labels[:_MAX_SHOWN])) + (" …" if len(labels) > _MAX_SHOWN else "")
        message = f"{model} has no output for the classes {shown} of the data; its outputs are {known}"
        raise InputError(message, f"rename the classes, or {_HINT}")
    _require_own_outputs(model, columns, labels, class_names, occurring)
    return _with_others(columns, sorted(range(len(labels)), key=lambda number: _sort_key(labels[number])), labels)


def _require_own_outputs(
    model: str, columns: list[int], labels: Sequence[str], class_names: Sequence[str], occurring: Sequence[int]
) -> None:
    """Raise InputError for an output of several classes with samples; of others it is taken away, in `columns`."""
    owners: dict[int, int] = {}
    for number in sorted(range(len(columns)), key=lambda number: number not in occurring):
        output = columns[number]
        owner = owners.setdefault(output, number)
        if output == ABSENT or owner == number:
            continue
        if number in occurring:
            names = f"{class_names[owner]!r} and {class_names[number]!r}"
            message = f"{model} has one output, {labels[output]!r}, for the classes {names} of the data"
            raise InputError(message, f"rename the classes, or {_HINT}")
        columns[number] = ABSENT


def _with_others(columns: Sequence[int], outputs: Sequence[int], labels: Sequence[str] = ()) -> ClassMap:
    others = tuple(number for number in outputs if number not in set(columns))
    return ClassMap(tuple(columns), others, tuple(_plain(labels[number]) for number in others) if labels else ())


def _sort_key(name: str) -> tuple[int, str, str]:
    """Return the key that sorts names: numbers by their size, before other names; then by their spelling."""
    return (int(name), "", name) if _is_number(name) else (_MAX_NUMBERS, _plain(name), name)


def _aliases(name: str) -> list[str]:
    """Return the names that a class of the data may have: "0 - zero" may also be "0" or "zero"."""
    return [_plain(part) for part in (name, *name.split(" - "))]


def _spellings(label: str, output: int) -> dict[str, None]:
    """Return the names that an output's label may stand for, each once.

    "n01440764 tench, Tinca tinca" may stand for itself, its synset, "tench, Tinca tinca" and "tench". Quotes are
    left out, as in "'tench'". A number before a colon is left out if it is the output's, as in "0: tench"; another
    one may be that of a class.
    """
    names = [label]
    if (numbered := _NUMBERED.fullmatch(label)) and int(numbered[1]) == output:
        names.append(numbered[2])
    if quoted := _QUOTED.fullmatch(names[-1]):
        names.append(quoted[2])
    if synset := _SYNSET.fullmatch(names[-1]):
        names += synset.groups()
    return dict.fromkeys(_plain(part) for name in names for part in (name, name.partition(",")[0]))


def _plain(name: str) -> str:
    """Return a name without differences of spelling: case, spaces, underscores, hyphens, leading zeros."""
    return str(int(name)) if _is_number(name) else re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\s*\d+\s*", name) is not None

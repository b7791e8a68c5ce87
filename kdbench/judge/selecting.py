"""Which of a record's findings answers a question about a metric: that at the axes asked for, and no other.

An axis that neither names is the usual one: batch 1, calls back to back, onnxruntime, the test set. What was taken of
one class, of training images or at another batch never answers for the whole.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from kdbench.judge.device import USUAL_RUNTIME, Device
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, Measurement, Pair

F = TypeVar("F", Measurement, Pair)

# What an axis is where a finding does not name it.
_UNNAMED: Mapping[str, str | int] = {"mode": "stream", "runtime": USUAL_RUNTIME, "part": "test"}
# Axes that may be whatever they are where nobody asks: the first of several answers.
_FREE = ("threads", "provider", "gap_ms", "rate_per_s")
_SINGLE: Mapping[str, str | int] = {"batch": 1}
# The largest throughput is found in a mode of its own, at whatever batch it is largest.
_LARGEST: Mapping[str, str | int] = {"mode": "offline"}
_SHOWN = 3  # other axes that a reason names, at most


def usual_axes(metric: str, device: Device) -> dict[str, str | int]:
    """Return the axes at which a metric is looked for where a criterion does not name them."""
    of = declared(metric)
    if not of.hardware_dependent:
        return dict(_UNNAMED)
    at = {**_UNNAMED, "runtime": device.runtime or USUAL_RUNTIME, **(_LARGEST if of.group == "offline" else _SINGLE)}
    return at if device.provider is None else {**at, "provider": device.provider}


def answering(findings: Iterable[F], asked: Axes, usual: Axes) -> F | None:
    """Return the finding at the axes `asked` for, what they leave open being as `usual`; None where there is none.

    Of several, which differ in what is left open, the one with the fewest threads: the headline of a report.
    """
    fitting = [found for found in findings if _fits(found, asked, usual)]
    return min(fitting, key=lambda found: int(found.axes.get("threads", 0)), default=None)


def _fits(found: Measurement | Pair, asked: Axes, usual: Axes) -> bool:
    if not found.axes and found.value is None:
        return True  # it could not be measured at any axes, and says why
    wanted = {**usual, **asked}
    if any(axis not in _FREE for axis in found.axes.keys() - wanted.keys()):
        return False
    # What is merely usual, such as batch 1, is not asked of a finding that has no such axis, such as a training time.
    told = {axis for axis in wanted if axis in found.axes or axis in asked or axis in _UNNAMED}
    return all(str(found.axes.get(axis, _UNNAMED.get(axis))) == str(wanted[axis]) for axis in told)


def nowhere(findings: Iterable[F], asked: Axes, usual: Axes) -> tuple[str, str]:
    """Return why no finding answers and what to do about it: at which axes there are numbers instead."""
    wanted = {**usual, **asked}
    others = [_beside(found.axes, wanted) for found in findings if found.value is not None]
    if not others:
        return "not measured", "measure it: the run has no number of this kind"
    missed = {axis: wanted[axis] for axes in others for axis in axes if axis in wanted}
    elsewhere = list(dict.fromkeys(_in_words(axes) for axes in others))
    more = f" and {len(elsewhere) - _SHOWN} more" if len(elsewhere) > _SHOWN else ""
    reason = f"not measured {_in_words(missed or asked)}, but {', '.join(elsewhere[:_SHOWN])}{more}"
    return reason, "measure it there, or name other axes in the target"


def _beside(axes: Axes, wanted: Axes) -> dict[str, str | int]:
    """Return the axes of a finding that keep it from being the one that is wanted."""
    return {
        axis: value for axis, value in axes.items() if (wanted[axis] != value if axis in wanted else axis not in _FREE)
    }


def _in_words(axes: Axes) -> str:
    return "at " + ", ".join(f"{axis} {value}" for axis, value in axes.items()) if axes else "as a whole"

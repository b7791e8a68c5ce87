"""A record's results by model, metric and axes, found without a search, and values computed once per record."""

from array import array
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import wraps
from heapq import merge
from typing import Any, Generic, Protocol, TypeVar


class _Result(Protocol):
    @property
    def metric(self) -> str: ...

    @property
    def axes(self) -> dict[str, str | int]: ...


class _Record(Protocol):
    @property
    def derived(self) -> dict[Hashable, Any]: ...


_Kind = TypeVar("_Kind", bound=_Result)
_R = TypeVar("_R", bound=_Record)
_T = TypeVar("_T")

_RECENT = 1000  # models whose sorted results are cached
_FEW = 16  # results of a metric among which a search is quicker than a dictionary


class ResultIndex(Generic[_Kind]):
    """Measurements or pairs by the model that `model_of` names, metric and axes, in the order of `results`.

    It is built in one pass over `results` and never changes. To save memory, it keeps only references to the results. A
    model's results are sorted by metric at the first look-up, and those of the latest _RECENT models stay cached.
    """

    def __init__(self, results: Iterable[_Kind], model_of: Callable[[_Kind], str]) -> None:
        self._results = tuple(results)
        self._by_metric: dict[str, array[int]] = {}
        self._by_model: dict[str, list[_Kind]] = {}
        self._recent: dict[str, _ModelResults[_Kind]] = {}
        for place, result in enumerate(self._results):
            self._by_metric.setdefault(result.metric, array("L")).append(place)
            self._by_model.setdefault(model_of(result), []).append(result)

    def of(self, model: str, metric: str) -> tuple[_Kind, ...]:
        """Return the results of one metric of one model, at any axes."""
        return tuple(self._of(model).by_metric.get(metric, ()))

    def for_model(self, model: str) -> tuple[_Kind, ...]:
        """Return all results of one model."""
        return tuple(self._by_model.get(model, ()))

    def having(self, *metrics: str) -> list[_Kind]:
        """Return the results of any of `metrics`, of all models."""
        known = [self._by_metric[metric] for metric in dict.fromkeys(metrics) if metric in self._by_metric]
        return [self._results[place] for place in merge(*known)]

    def has(self, *metrics: str) -> bool:
        """Return whether there is any result of any of `metrics`."""
        return any(metric in self._by_metric for metric in metrics)

    def nearest(
        self, model: str, metric: str, axes: Mapping[str, str | int], teachers: Collection[str] | None = None
    ) -> _Kind | None:
        """Return the first result whose axes include `axes`, with the fewest further ones; None without any.

        Of pairs, only those with one of `teachers` count, where these are named.
        """
        model_results = self._of(model)
        if teachers is None:
            exact = model_results.exact(metric, axes)
            if exact is not None:
                return exact
        results = model_results.by_metric.get(metric, ())
        candidates = (r for r in results if teachers is None or getattr(r, "teacher", None) in teachers)
        matches = (result for result in candidates if axes.items() <= result.axes.items())
        return min(matches, key=lambda result: len(result.axes), default=None)

    def _of(self, model: str) -> "_ModelResults[_Kind]":
        known = self._recent.get(model)
        if known is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            known = self._recent[model] = _ModelResults(self._by_model.get(model, ()))
        return known


class _ModelResults(Generic[_Kind]):
    """The results of one model by metric, and of metrics with many results by axes too."""

    def __init__(self, results: Iterable[_Kind]) -> None:
        self.by_metric: dict[str, list[_Kind]] = {}
        self._at: dict[str, dict[frozenset[tuple[str, str | int]], _Kind]] = {}
        for result in results:
            self.by_metric.setdefault(result.metric, []).append(result)

    def exact(self, metric: str, axes: Mapping[str, str | int]) -> _Kind | None:
        """Return the first result of a metric at exactly these axes; None without any."""
        results = self.by_metric.get(metric, ())
        if len(results) <= _FEW:
            return next((result for result in results if result.axes == axes), None)
        if metric not in self._at:
            self._at[metric] = {frozenset(result.axes.items()): result for result in reversed(results)}
        return self._at[metric].get(frozenset(axes.items()))


def once_per_record(compute: Callable[[_R], _T]) -> Callable[[_R], _T]:
    """Return `compute`, a function of a record alone, so that it runs once for each record.

    The value is kept with the record as long as that lives; no caller may change it.
    """

    @wraps(compute)
    def kept(record: _R) -> _T:
        if compute not in record.derived:
            record.derived[compute] = compute(record)
        value: _T = record.derived[compute]
        return value

    return kept

"""A record's results by model, metric and axes, found without a search, and values computed once per record."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import cached_property, wraps
from heapq import merge
from operator import itemgetter
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


class ResultIndex(Generic[_Kind]):
    """Measurements or pairs by the model that `model_of` names, metric and axes, in the order of `results`.

    It is built in one pass over `results` and never changes; a second pass waits until somebody asks for exact axes.
    """

    def __init__(self, results: Iterable[_Kind], model_of: Callable[[_Kind], str]) -> None:
        self._by_metric: dict[str, list[tuple[int, _Kind]]] = {}
        self._by_model: dict[str, list[_Kind]] = {}
        self._of: dict[tuple[str, str], list[_Kind]] = {}
        for place, result in enumerate(results):
            model, metric = model_of(result), result.metric
            self._by_metric.setdefault(metric, []).append((place, result))
            self._by_model.setdefault(model, []).append(result)
            self._of.setdefault((model, metric), []).append(result)

    @cached_property
    def _at(self) -> dict[tuple[str, str, frozenset[tuple[str, str | int]]], _Kind]:
        index: dict[tuple[str, str, frozenset[tuple[str, str | int]]], _Kind] = {}
        for key, results in self._of.items():
            for result in results:
                index.setdefault((*key, frozenset(result.axes.items())), result)
        return index

    def of(self, model: str, metric: str) -> tuple[_Kind, ...]:
        """Return the results of one metric of one model, at any axes."""
        return tuple(self._of.get((model, metric), ()))

    def of_model(self, model: str) -> tuple[_Kind, ...]:
        """Return all results of one model."""
        return tuple(self._by_model.get(model, ()))

    def having(self, *metrics: str) -> list[_Kind]:
        """Return the results of any of `metrics`, of all models."""
        known = [self._by_metric[metric] for metric in dict.fromkeys(metrics) if metric in self._by_metric]
        return [result for _, result in merge(*known, key=itemgetter(0))]

    def has(self, *metrics: str) -> bool:
        """Return whether there is any result of any of `metrics`."""
        return any(metric in self._by_metric for metric in metrics)

    def nearest(
        self, model: str, metric: str, axes: Mapping[str, str | int], teachers: Collection[str] | None = None
    ) -> _Kind | None:
        """Return the first result whose axes include `axes`, with the fewest further ones; None without any.

        Of pairs, only those with one of `teachers` count, where these are named.
        """
        if teachers is None:
            exact = self._at.get((model, metric, frozenset(axes.items())))
            if exact is not None:
                return exact
        results = self._of.get((model, metric), ())
        of_teacher = (r for r in results if teachers is None or getattr(r, "teacher", None) in teachers)
        matches = (result for result in of_teacher if axes.items() <= result.axes.items())
        return min(matches, key=lambda result: len(result.axes), default=None)


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

"""Histories: metrics over many records, as series in time order with the changes detected in them."""

from itertools import pairwise
from typing import Literal

from pydantic import Field

from kdbench.results.records import Interval
from kdbench.results.values import StoredValue
from kdbench.user_input.validation import Value


class Point(Value):
    """One record's number in a series, in the metric's unit, or a gap without a reliable number.

    `run` is the record's folder, relative to the searched one. `interval` is what that run alone shows. `reason` is why
    the point is a gap. `runtime` is the version of onnxruntime.
    """

    run: str
    created: str
    commit: str | None = None
    dirty: bool | None = None
    value: float | None = None
    interval: Interval | None = None
    reason: str = ""
    runtime: str | None = None

    @property
    def counts(self) -> bool:
        """Whether the point takes part in the detection of changes."""
        return self.value is not None and not self.reason


class Level(Value):
    """The points between two changes: the indices of the first and the last in the series, and their mean."""

    first: int
    last: int
    value: float


class Change(Value):
    """A step in a series; `at` is the index of the first point of the new level.

    `change` is new over old where the series is `relative`, else new minus old; `interval` is the change's. `better` is
    None for metrics without a better direction. `runtime` names the versions of onnxruntime before and after, if they
    differ: a likely cause.
    """

    at: int
    change: float
    interval: Interval
    better: bool | None = None
    runtime: str = ""


class Series(Value):
    """One metric of one model at fixed axes on one machine; `machine` is empty for hardware-independent metrics.

    `teacher` is the model that a pair's metric compares with. `study` is the name of the records and `test_set` the
    hash of the test images, where a history has several. `scatter` is the least standard deviation assumed of points
    around their level, as a share where the series is `relative`. `note` is why changes were not searched for.
    """

    model: str
    metric: str
    unit: str
    axes: dict[str, str | int] = Field(default_factory=dict)
    teacher: str | None = None
    machine: str = ""
    study: str = ""
    test_set: str = ""
    relative: bool = False
    scatter: float = 0.0
    points: tuple[Point, ...]
    levels: tuple[Level, ...] = ()
    changes: tuple[Change, ...] = ()
    note: str = ""

    @property
    def counted(self) -> int:
        """The number of points that take part in the detection of changes."""
        return sum(point.counts for point in self.points)

    @property
    def runtimes(self) -> dict[int, str]:
        """The points where the version of onnxruntime changes: both versions by the point's index."""
        known = [(index, point.runtime) for index, point in enumerate(self.points) if point.runtime]
        return {index: f"{before} → {after}" for (_, before), (index, after) in pairwise(known) if before != after}


class History(StoredValue):
    """Series over `records` records; `notes` name files that could not be used."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    records: int
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()

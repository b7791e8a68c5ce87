"""One metric over many records: series of numbers in the order they were taken, and where they stepped.

Frozen values like a record: `judge` makes them, `report` turns them into text.
"""

from itertools import pairwise
from typing import Literal

from pydantic import Field

from kdbench.results.records import Interval
from kdbench.results.values import StoredValue
from kdbench.validation import Value


class Point(Value):
    """What one record says of a series: a number in the metric's unit, or the gap where there is none to rely on.

    `run` is the record's folder, as far as the folder that was searched; `reason` says why the point is a gap: it may
    have a value nevertheless, an unstable one. `runtime` is the version of onnxruntime.
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
        """Whether the number is one to look for changes in."""
        return self.value is not None and not self.reason


class Level(Value):
    """Points between two changes: from the first to the last, by their place in the series, and their mean."""

    first: int
    last: int
    value: float


class Change(Value):
    """A step before the point `at`, the first of the new level, by its place in the series.

    `change` is new over old where the series is `relative`, else new minus old; `interval` is the change's. `better` is
    None where the metric has no better direction. `runtime` names the versions of onnxruntime on both sides, where they
    differ: a likely cause.
    """

    at: int
    change: float
    interval: Interval
    better: bool | None = None
    runtime: str = ""


class Series(Value):
    """One metric of one model at one point of its axes, on one machine; `machine` is empty for what any machine gives.

    `teacher` is whom a pair's metric compares with. `study` is the records' name and `test_set` the hash of what was
    scored on, where a history has several. `scatter` is the least standard deviation that points were taken to have
    around their level, as a share where the series is `relative`. `note` says why no changes were looked for.
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
        """How many points changes were looked for in."""
        return sum(point.counts for point in self.points)

    @property
    def runtimes(self) -> dict[int, str]:
        """The places of points that another version of onnxruntime took than the one before, with both versions."""
        known = [(place, point.runtime) for place, point in enumerate(self.points) if point.runtime]
        return {place: f"{before} → {after}" for (_, before), (place, after) in pairwise(known) if before != after}


class History(StoredValue):
    """Series of numbers over records; `notes` name what was found and could not be used."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    records: int
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()

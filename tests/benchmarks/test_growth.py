"""The work on a record grows with its size and no faster, counted in calls and in results looked at, never timed."""

import cProfile
import functools
import os
from collections import Counter
from typing import ClassVar

import pytest

from benchmarks.growth import planning, sweeping
from benchmarks.growth.records import Parts, synthetic_record
from kdbench.judge.compare.records import compare
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target, shipped_targets
from kdbench.processes import temporary
from kdbench.report import Content
from kdbench.report.render.html import render as html
from kdbench.report.render.markdown import render as markdown
from kdbench.report.styles import STYLES
from kdbench.report.text.comparison import markdown as comment
from kdbench.results.records import RunRecord

FEW, MANY = 12, 36
FEW_POINTS, MANY_POINTS = 16, 64
OFTEN = 5  # calls of a function for each point, from which its growth is looked at
PARTS = Parts(classes=3)


class Counted(tuple):
    """A record's results, which count how many of them were looked at one after another."""

    __slots__ = ()
    looks: ClassVar = Counter()

    def __iter__(self):
        for item in super().__iter__():
            Counted.looks["results"] += 1
            yield item


@functools.cache
def made(models, hour):
    """Return a record that stays as it is: `counted` returns a copy for each task."""
    return synthetic_record(models, hour=hour, parts=PARTS)


def counted(models, hour=0):
    record = made(models, hour)
    lists = {name: Counted(getattr(record, name)) for name in ("measurements", "pairs", "layers", "models")}
    return record.model_copy(update=lists)


def calls_by_function(compute):
    """Return how often each Python function is called while `compute` runs; a generator once for each value."""
    profile = cProfile.Profile(subcalls=False, builtins=False)
    profile.runcall(compute)
    calls = Counter()
    for entry in profile.getstats():
        calls[f"{entry.code.co_filename}:{entry.code.co_qualname}"] += entry.callcount
    return calls


def work(compute):
    """Return the results looked at, and the calls of Python functions, while `compute` runs."""
    Counted.looks.clear()
    calls = calls_by_function(compute)
    return Counted.looks["results"], calls.total()


def report(render, style=None):
    def of(record, _):
        content = Content(record, style=style)
        content.__dict__["drawings"] = []  # matplotlib's calls hide ours
        render(content)

    return of


READY = [load_target(name) for name in shipped_targets()][:2]
TASKS = {
    "markdown": report(markdown),
    "html": report(html),
    **{style: report(markdown, style) for style, _ in STYLES},
    "ready": lambda record, _: [judge(record, target) for target in READY],
    "compare": lambda record, later: comment(compare(record, later)),
}


@pytest.mark.parametrize("task", TASKS)
def test_work_grows_no_faster_than_the_models(task):
    records = [[counted(models, hour) for hour in (0, 5)] for models in (4, FEW, MANY)]
    _, few, many = (work(lambda pair=pair: TASKS[task](*pair)) for pair in records)  # the first one imports modules
    growth = [more / max(less, 1) for less, more in zip(few, many, strict=True)]
    assert max(growth) < (MANY / FEW) ** 1.2, (few, many)


def test_synthetic_records_are_valid_and_the_same_for_a_seed():
    record = synthetic_record(FEW)
    assert RunRecord.model_validate(record.to_json()) == record == synthetic_record(FEW)
    assert {card.role for card in record.models} == {"teacher", "student"}
    assert len(record.models) == FEW
    assert {m.status for m in record.measurements} == {"ok", "unstable", "error", "unavailable"}


class Listed(Counter):
    """How many entries of folders were listed; other names of the module `os` stay as they are."""

    def __init__(self, patch):
        super().__init__()
        for name in ("listdir", "scandir"):
            patch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name, listing):
        names = os.listdir

        def counting(path="."):
            if not isinstance(path, int):  # an open folder, which is removed
                self["entries"] += len(names(path))
            return listing(path)

        return counting


SWEEP_TASKS = {"plan": lambda points, _: planning.sweep(points), "driver": sweeping.drive, "record": sweeping.record}


@pytest.mark.parametrize("task", SWEEP_TASKS)
def test_every_function_s_work_for_a_sweep_grows_no_faster_than_the_points(task, tmp_path, monkeypatch):
    few, many = (SWEEP_TASKS[task](points, tmp_path / str(points)) for points in (FEW_POINTS, MANY_POINTS))
    counts = []
    for compute in (few, many):
        with monkeypatch.context() as patch:
            patch.setattr(temporary, "_LISTED", 4)  # so that these folders are large
            listed = Listed(patch)
            counts.append(calls_by_function(compute) + Counter({"entries of folders": listed["entries"]}))
    less, more = counts
    limit = (MANY_POINTS / FEW_POINTS) ** 1.2
    often = {name: n for name, n in more.items() if n > OFTEN * MANY_POINTS}
    assert often
    assert not {name: (less[name], n) for name, n in often.items() if n > limit * max(less[name], FEW_POINTS)}

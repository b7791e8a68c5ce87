"""What a session says in the end: a line for every bound in the terminal, a table in CI's summary of the step."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kdbench.report.cells import Text
from kdbench.report.render import markdown
from kdbench.report.table import Column, Row, Table
from kdbench.testing.judged import NOT_JUDGED, Judged

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # the variable by which GitHub Actions names the file
Bounds = Mapping[str, Sequence[Judged]]
"""The bounds of each test, by its id."""


class _Mark(NamedTuple):
    sign: str
    colour: str
    told: str


_PASSED = _Mark("✅", "green", "met")
_LET_PASS = _Mark("⚠️", "yellow", "let pass")
_FAILED = _Mark("❌", "red", "not met")


def _mark(judged: Judged) -> _Mark:
    if judged.met:
        return _PASSED
    return _LET_PASS if judged.passed else _FAILED


def not_judged(bounds: Bounds) -> str:
    """Return the line for bounds that a smoke run left alone; empty if there were none."""
    count = sum(each.outcome == NOT_JUDGED for held in bounds.values() for each in held)
    return f"kdbench: {count} bound{'s' * (count != 1)} not judged; pytest --benchmark judges them" if count else ""


def lines(bounds: Bounds) -> list[tuple[str, str]]:
    """Return a line for every bound that was judged, and the colour that it has."""
    judged = [(test, each) for test, held in bounds.items() for each in held if each.outcome != NOT_JUDGED]
    width = max((len(each.outcome) for _, each in judged), default=0)
    return [
        (_mark(each).colour, f"{each.outcome:<{width}}  {test}  {each.subject}: {each.what} {each.found}; {each.asked}")
        for test, each in judged
    ]


def table(bounds: Bounds) -> Table:
    """Return the bounds that were judged as a table."""
    columns = [Column(head, numeric=False) for head in ("", "Test", "Model", "What", "Found", "Asked for", "Outcome")]
    rows = [
        Row(
            (
                Text(_mark(each).sign),
                Text(test, code=True),
                Text(each.subject, code=True),
                Text(each.what),
                Text(each.found),
                Text(each.asked),
                Text(each.outcome),
            )
        )
        for test, held in bounds.items()
        for each in held
        if each.outcome != NOT_JUDGED
    ]
    return Table("kdbench", tuple(columns), tuple(rows))


def append_to_step(bounds: Bounds) -> str:
    """Append the table to the file that CI names, if it names one; return what went wrong, empty if nothing did."""
    path = os.environ.get(STEP_SUMMARY)
    drawn = table(bounds)
    if not path or not drawn.rows:
        return ""
    signs = Counter(_mark(each).sign for held in bounds.values() for each in held)
    count = f"{len(drawn.rows)} bound{'s' * (len(drawn.rows) != 1)}"
    others = [f"{signs[mark.sign]} {mark.told}" for mark in (_FAILED, _LET_PASS) if signs[mark.sign]]
    told = ", ".join([count, *others] if others else [count, "all met"])
    try:
        with Path(path).open("a", encoding="utf-8") as stream:  # other steps' tables are in it: nothing to rename over
            stream.write(f"### kdbench: {told}\n\n{markdown.table(drawn)}\n\n")
    except OSError as error:
        return f"the step summary was not written: {error.strerror or error}"
    return ""

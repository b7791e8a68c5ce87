"""The gate behind a comparison: what became worse ends the test, and so does what nobody can tell."""

import pytest

from kdbench import units
from kdbench.errors import InputError
from kdbench.report.cells import bracketed
from kdbench.results.comparisons import Compared, Comparison
from kdbench.results.metrics import metric
from kdbench.testing.context import Context
from kdbench.testing.failing import in_tests, told
from kdbench.testing.found import at
from kdbench.testing.judged import NOT_JUDGED, Judged

_POLICIES = ("fail", "skip", "pass")
_GOOD = {"same", "improved"}


class Change:
    """What changed between two states; `no_regression` is the gate. In a smoke run there is nothing to read."""

    def __init__(self, context: Context, name: str, comparison: Comparison | None) -> None:
        self._context = context
        self._name = name
        self._comparison = comparison

    @property
    def comparison(self) -> Comparison:
        """The comparison as a value."""
        if self._comparison is None:
            pytest.skip("a comparison is read, and only pytest --benchmark makes it")
        return self._comparison

    @told
    def no_regression(self, *, inconclusive: str | None = None) -> None:
        """End the test where a metric became worse.

        What is `inconclusive` fails the test too, unless this, or `--kdbench-inconclusive`, is "skip" or "pass".
        """
        __tracebackhide__ = True
        hold(self._context, self._name, self._comparison, inconclusive)


def hold(context: Context, name: str, comparison: Comparison | None, inconclusive: str | None = None) -> None:
    """Note what became of what is called `name`, and end the test where a metric became worse.

    Without a comparison, in a smoke run, nothing is judged.
    """
    __tracebackhide__ = True
    policy = inconclusive or context.settings.inconclusive
    if policy not in _POLICIES:
        raise InputError(f"inconclusive={policy!r} is none of {_POLICIES}")
    if comparison is None:
        context.note(Judged(name, "the change", "not measured", "no regression", NOT_JUDGED, passed=True))
        return
    passing = _GOOD | ({"inconclusive"} if policy == "pass" else set())
    judged = [
        _judged(comparison, row, passed=row.outcome in passing) for row in comparison.rows if row.outcome != "same"
    ]
    judged += [_lost(comparison, model, passed="inconclusive" in passing) for model in comparison.lost]
    same = sum(row.outcome == "same" for row in comparison.rows)
    if same:
        judged.append(_unchanged(name, comparison, same))
    elif not judged:
        judged.append(_without_rows(name, comparison, passed=comparison.overall in passing))
    context.note(*judged)
    bad = [each for each in judged if not each.passed]
    message = "\n".join(each.message for each in bad)
    if bad and policy == "skip" and all(each.outcome == "inconclusive" for each in bad):
        pytest.skip(message)
    if bad:
        pytest.fail(message, pytrace=False)


def _judged(comparison: Comparison, row: Compared, *, passed: bool) -> Judged:
    declared = metric(row.metric)
    worse = "lower" if declared.higher_is_better else "higher"
    return Judged(
        subject=row.new_model,
        what=at(row.metric, row.axes),
        found=_found(row),
        asked=f"at most {units.tolerance(row.threshold, in_points=row.in_points)} {worse} than in {comparison.base}",
        outcome=row.outcome,
        passed=passed,
        reason=row.reason,
        remedy=in_tests(row.remedy),
        numbers=row.model_dump(mode="json"),
    )


def _lost(comparison: Comparison, model: str, *, passed: bool) -> Judged:
    """Return the line of a model that is there no longer."""
    return Judged(
        subject=model,
        what="the model",
        found="gone",
        asked=f"no regression against {comparison.base}",
        outcome="inconclusive",
        passed=passed,
        reason="the new one has no such model",
        remedy="where that is meant, hold each model to its own: kdbench.model(…).no_regression(…)",
    )


def _found(row: Compared) -> str:
    """Write a change as `1.20 ms → 1.31 ms, +9.2 % [+8.0 %, +10.4 %]`."""
    declared = metric(row.metric)
    both = " → ".join("n/a" if value is None else declared.text(value) for value in (row.base, row.new))
    if row.change is None:
        return both
    write = units.points if row.in_points else units.change
    interval = f" {bracketed(row.change, row.interval, write)}" if row.interval else ""
    return f"{both}, {write(row.change)}{' points' if row.in_points else ''}{interval}"


def _unchanged(name: str, comparison: Comparison, count: int) -> Judged:
    """Return one line for all numbers that are at worst within their thresholds."""
    return Judged(
        subject=name,
        what="the change",
        found=f"none that counts in {count} number{'s' * (count != 1)}",
        asked=f"no regression against {comparison.base}",
        outcome="same",
        passed=True,
        numbers={"same": [row.model_dump(mode="json") for row in comparison.rows if row.outcome == "same"]},
    )


def _without_rows(name: str, comparison: Comparison, *, passed: bool) -> Judged:
    """Return what became of a comparison without a number: of files that are the same, or of nothing at all."""
    same = comparison.overall in _GOOD
    return Judged(
        subject=name,
        what="the change",
        found="none: the files are the same" if same else "not comparable",
        asked=f"no regression against {comparison.base}",
        outcome=comparison.overall,
        passed=passed,
        reason="" if same else "no metric is in both" + "".join(f"; {note}" for note in comparison.notes),
    )

"""The regression check of a comparison: a regression fails the test, and so does an inconclusive comparison."""

from typing import Any

import pytest

from kdbench import units
from kdbench.errors import InputError
from kdbench.report.cells import bracketed
from kdbench.results.comparisons import ComparedMetric, Comparison
from kdbench.results.metrics import metric
from kdbench.testing.check_results import NOT_JUDGED, CheckResult
from kdbench.testing.context import Context, as_test_options, fails_test
from kdbench.testing.metric_check import at
from kdbench.testing.settings import INCONCLUSIVE

_PASSING = {"same", "improved"}


class Change:
    """What changed between two states; `no_regression` is the gate. Without `--benchmark` nothing is compared."""

    def __init__(self, context: Context, name: str, comparison: Comparison | None) -> None:
        self._context = context
        self._name = name
        self._comparison = comparison

    @property
    def comparison(self) -> Comparison:
        """The comparison as a value."""
        if self._comparison is None:
            pytest.skip("nothing is compared without pytest --benchmark")
        return self._comparison

    @fails_test
    def no_regression(self, *, inconclusive: str | None = None) -> None:
        """End the test if a metric became worse.

        An inconclusive comparison fails the test too, unless `inconclusive`, or `--kdbench-inconclusive`, is "skip" or
        "pass".
        """
        __tracebackhide__ = True
        check_regression(self._context, self._name, self._comparison, inconclusive)


def check_regression(
    context: Context, name: str, comparison: Comparison | None, inconclusive: str | None = None
) -> None:
    """Add the results of a comparison of `name`, and end the test if a metric became worse.

    Without a comparison, as without `--benchmark`, nothing is judged.
    """
    __tracebackhide__ = True
    policy = inconclusive or context.settings.inconclusive
    if policy not in INCONCLUSIVE:
        raise InputError(f"inconclusive={policy!r} is not one of {', '.join(INCONCLUSIVE)}")
    if comparison is None:
        context.add_results(CheckResult(name, "the change", "not measured", "no regression", NOT_JUDGED, passed=True))
        return
    passing = _PASSING | ({"inconclusive"} if policy == "pass" else set())
    changed = [row for row in comparison.rows if row.outcome != "same"]
    results = [_of_row(comparison, row, passed=row.outcome in passing) for row in changed]
    gone = {
        "what": "the model",
        "reason": "the new state has no such model",
        "remedy": "if it was removed on purpose, compare model by model: kdbench.model(…).no_regression(…)",
    }
    allowed = "inconclusive" in passing
    results += [
        _without_number(comparison, model, "gone", "inconclusive", passed=allowed, **gone) for model in comparison.lost
    ]
    same = [row.model_dump(mode="json") for row in comparison.rows if row.outcome == "same"]
    if same:
        observed = f"exceeds its threshold in {len(same)} number{'s' * (len(same) != 1)}"
        numbers = {"same": same}
        result = _without_number(comparison, name, observed, "same", passed=True, what="no change", numbers=numbers)
        results.append(result)
    elif not results:
        identical = comparison.overall in _PASSING
        observed = "none: the files are the same" if identical else "not comparable"
        reason = "" if identical else "; ".join(("no metric is in both states", *comparison.notes))
        passed = comparison.overall in passing
        results.append(_without_number(comparison, name, observed, comparison.overall, passed=passed, reason=reason))
    context.add_results(*results)
    failed = [result for result in results if not result.passed]
    message = "\n".join(result.message for result in failed)
    if failed and policy == "skip" and all(result.outcome == "inconclusive" for result in failed):
        pytest.skip(message)
    if failed:
        pytest.fail(message, pytrace=False)


def _of_row(comparison: Comparison, row: ComparedMetric, *, passed: bool) -> CheckResult:
    declared = metric(row.metric)
    worse = "lower" if declared.higher_is_better else "higher"
    return CheckResult(
        subject=row.new_model,
        what=at(row.metric, row.axes),
        observed=_change(row),
        required=f"at most {units.tolerance(row.threshold, in_points=row.in_points)} {worse} than in {comparison.base}",
        outcome=row.outcome,
        passed=passed,
        reason=row.reason,
        remedy=as_test_options(row.remedy),
        numbers=row.model_dump(mode="json"),
    )


def _without_number(
    comparison: Comparison,
    subject: str,
    observed: str,
    outcome: str,
    *,
    passed: bool,
    what: str = "the change",
    **details: Any,
) -> CheckResult:
    """Return a result that is not about a single number."""
    required = f"no regression against {comparison.base}"
    return CheckResult(subject, what, observed, required, outcome, passed, **details)


def _change(row: ComparedMetric) -> str:
    """Return a change as text, such as `1.20 ms → 1.31 ms, +9.2 % [+8.0 %, +10.4 %]`."""
    declared = metric(row.metric)
    both = " → ".join("n/a" if value is None else declared.text(value) for value in (row.base, row.new))
    if row.change is None:
        return both
    write = units.points if row.in_points else units.change
    interval = f" {bracketed(row.change, row.interval, write)}" if row.interval else ""
    return f"{both}, {write(row.change)}{' points' if row.in_points else ''}{interval}"

"""The results of a session's checks: one value per check, and the summary of all.

A result is sent as a property of its test's report, also from xdist's workers. In JUnit XML it is a property of the
suite, because Jenkins' schema allows none in a test case. pytest loads this module in every project of the environment,
so it imports very little.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kdbench.characters import for_log, one_line

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from kdbench.report.table import Table

PROPERTY = "kdbench"  # the report's property that holds one result, as JSON
NOT_JUDGED = "NOT JUDGED"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # GitHub Actions names the file in this variable
_MET = {"PASS", "READY", "same", "improved"}
_JSON_KEYS = {"observed": "found", "required": "asked"}  # keys that differ from the field's name


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    `what` is the property of the `subject` that was checked; `observed` is the number with its interval and `required`
    the limit, both as text; `numbers` are the same as JSON values. `passed` is whether the test continues, which for a
    MARGINAL result depends on the settings.
    """

    subject: str
    what: str
    observed: str
    required: str
    outcome: str
    passed: bool
    reason: str = ""
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the requirement is met; a MARGINAL that is only allowed to pass does not meet it."""
        return self.outcome in _MET

    @property
    def sentence(self) -> str:
        """The result in one line."""
        text = f"{self.subject}: {self.what} is {self.observed}; required: {self.required}"
        return text if self.outcome in self.observed else f"{text}: {self.outcome}"

    @property
    def message(self) -> str:
        """The message of a failed test: the sentence, the reason if the sentence lacks it, and the remedy; escaped."""
        reason = "" if self.reason in self.observed else self.reason
        hint = f"hint: {self.remedy}" if self.remedy else ""
        return for_log("\n".join(line for line in (self.sentence, reason, hint) if line))

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values: the numbers and the other fields in one object."""
        fields = self._fields()
        return {**fields.pop("numbers"), **fields}

    def to_property(self) -> tuple[str, str]:
        """Return the result as a property of its test's report."""
        return PROPERTY, json.dumps(self._fields(), ensure_ascii=False)

    def to_suite_property(self, test: str) -> str:
        """Return the value of a property of JUnit XML's test suite: JSON, with the id of the `test`."""
        return json.dumps({"test": test, **self._fields()}, ensure_ascii=False)

    def _fields(self) -> dict[str, Any]:
        return {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}


Results = Mapping[str, Sequence[CheckResult]]
"""The results of each test, by its id."""


def results_of(properties: Iterable[tuple[str, object]]) -> tuple[CheckResult, ...]:
    """Return the results among a report's properties, in their order."""
    names = {key: name for name, key in _JSON_KEYS.items()}
    results = (json.loads(str(value)) for name, value in properties if name == PROPERTY)
    return tuple(CheckResult(**{names.get(key, key): value for key, value in result.items()}) for result in results)


class Summary:
    """The plug-in that collects all results, whichever process ran the tests, and shows them at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results: dict[str, tuple[CheckResult, ...]] = {}
        self._problem = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        """Collect the results of a finished test, and keep them out of its case in JUnit XML."""
        properties = report.user_properties
        if report.when == "teardown" and (results := results_of(properties)):
            self._results[report.nodeid] = results
        if self._junit is not None:
            report.user_properties = [it for it in properties if it[0] != PROPERTY]
        try:
            return (yield)
        finally:
            report.user_properties = properties

    @pytest.hookimpl(tryfirst=True)  # before JUnit XML is written
    def pytest_sessionfinish(self) -> None:
        """Append the results to CI's step summary, and add them to the suite in JUnit XML."""
        if self._results:
            self._problem = append_to_step(self._results)
        if self._junit is not None:
            for test, results in self._results.items():
                for result in results:
                    self._junit.add_global_property(PROPERTY, result.to_suite_property(test))

    @property
    def _junit(self) -> Any:
        """The plug-in that writes JUnit XML, None if it is off; its public fixture would not work with xdist."""
        from _pytest.junitxml import xml_key

        return self._config.stash.get(xml_key, None)

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter", config: pytest.Config) -> None:
        """Write a line for every result."""
        if not self._results:
            return
        from kdbench.testing.settings import Settings

        terminalreporter.ensure_newline()
        if skipped := not_judged(self._results):
            terminalreporter.write_line(skipped, yellow=True)
        if judged := lines(self._results):
            terminalreporter.section("kdbench")
            for colour, line in judged:
                terminalreporter.write_line(for_log(line), **{colour: True})
            settings = Settings.of(config)
            if settings.session.is_dir():
                terminalreporter.write_line(f"records and reports: {settings.shown_session}")
        if self._problem:
            terminalreporter.write_line(for_log(f"warning: {self._problem}"), yellow=True)


class _Mark(NamedTuple):
    sign: str
    colour: str
    text: str


_PASSED = _Mark("✅", "green", "met")
_ALLOWED = _Mark("⚠️", "yellow", "allowed to pass")
_FAILED = _Mark("❌", "red", "not met")


def _mark(result: CheckResult) -> _Mark:
    return _PASSED if result.met else _ALLOWED if result.passed else _FAILED


def _judged(results: Results) -> list[tuple[str, CheckResult]]:
    """Return each judged result with the id of its test."""
    return [(test, result) for test, of_test in results.items() for result in of_test if result.outcome != NOT_JUDGED]


def not_judged(results: Results) -> str:
    """Return the line that counts the checks of a smoke run; empty if there are none."""
    count = sum(map(len, results.values())) - len(_judged(results))
    return f"kdbench: {count} bound{'s' * (count != 1)} not judged; pytest --benchmark judges them" if count else ""


def lines(results: Results) -> list[tuple[str, str]]:
    """Return the colour and the line of every judged result."""
    judged = _judged(results)
    width = max((len(result.outcome) for _, result in judged), default=0)
    return [
        (
            _mark(it).colour,
            one_line(f"{it.outcome:<{width}}  {test}  {it.subject}: {it.what} {it.observed}; {it.required}"),
        )
        for test, it in judged
    ]


def table(results: Results) -> "Table":
    """Return the judged results as a table."""
    from kdbench.report.cells import Text
    from kdbench.report.table import Column, Row, Table

    heads = ("", "Test", "Model", "What", "Measured", "Required", "Outcome")
    rows = []
    for test, result in _judged(results):
        names = Text(test, code=True), Text(result.subject, code=True)
        words = map(Text, (result.what, result.observed, result.required, result.outcome))
        rows.append(Row((Text(_mark(result).sign), *names, *words)))
    return Table("kdbench", tuple(Column(head, numeric=False) for head in heads), tuple(rows))


def append_to_step(results: Results) -> str:
    """Append the table to the file that CI names, if any; return the error message, empty if there is no error."""
    from kdbench.report.text import markdown

    path = os.environ.get(STEP_SUMMARY)
    judged = _judged(results)
    if not path or not judged:
        return ""
    marks = Counter(_mark(result) for _, result in judged)
    count = f"{len(judged)} bound{'s' * (len(judged) != 1)}"
    exceptions = [f"{marks[mark]} {mark.text}" for mark in (_FAILED, _ALLOWED) if marks[mark]]
    title = ", ".join([count, *exceptions] if exceptions else [count, "all met"])
    try:
        with Path(path).open("a", encoding="utf-8") as stream:  # the file may hold other steps' tables
            stream.write(f"### kdbench: {markdown.prose(title)}\n\n{markdown.table(table(results))}\n\n")
    except OSError as error:
        return f"the step summary was not written: {error.strerror or error}"
    return ""

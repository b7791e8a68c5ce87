"""What became of all tests' bounds, gathered from their reports, whichever process ran them, and told in the end.

Loaded by pytest in every project of the environment: it imports next to nothing.
"""

from typing import TYPE_CHECKING

import pytest

from kdbench.testing.judged import Judged, judged_of

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


class Gathering:
    """The bounds of a session by test, in the order in which the tests ended."""

    def __init__(self) -> None:
        self._bounds: dict[str, tuple[Judged, ...]] = {}
        self._complaint = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the bounds of a test that is done."""
        if report.when == "teardown" and (held := judged_of(report.user_properties)):
            self._bounds[report.nodeid] = held

    def pytest_sessionfinish(self) -> None:
        """Append the bounds to CI's summary of the step."""
        if self._bounds:
            from kdbench.testing.summary import append_to_step

            self._complaint = append_to_step(self._bounds)

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter", config: pytest.Config) -> None:
        """Write a line for every bound."""
        if not self._bounds:
            return
        from kdbench.testing.settings import Settings
        from kdbench.testing.summary import lines, not_judged

        terminalreporter.ensure_newline()
        if left := not_judged(self._bounds):
            terminalreporter.write_line(left, yellow=True)
        if judged := lines(self._bounds):
            terminalreporter.section("kdbench")
            for colour, line in judged:
                terminalreporter.write_line(line, **{colour: True})
            settings = Settings.of(config)
            if settings.session.is_dir():
                terminalreporter.write_line(f"records and reports: {settings.shown_session}")
        if self._complaint:
            terminalreporter.write_line(f"warning: {self._complaint}", yellow=True)

"""One benchmark test at a time on a machine, whichever process runs it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import pytest

from kdbench.errors import KdbenchError
from kdbench.machine.lock import machine_lock
from kdbench.progress import Silent

# Not the lock of a measurement: that one is taken inside, by the harness, of which the test may hold several in turn.
# Whoever needs both takes this one first.
LOCK = "kdbench-testing.lock"


class Notes(Silent):
    """A watcher that writes notes to pytest's terminal, and nothing else; xdist's workers have none."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")

    def note(self, text: str) -> None:
        """Write the note on a line of its own, at once: what a test writes is shown when it is done, and has failed."""
        if self._terminal is None:
            return
        with self._capture.global_and_fixture_disabled() if self._capture is not None else nullcontext():
            self._terminal.ensure_newline()
            self._terminal.write_line(f"kdbench: {text}")
            self._terminal.flush()


@contextmanager
def alone(config: pytest.Config) -> Iterator[None]:
    """Hold the lock of benchmark tests; ends the session where there can be none."""
    with ExitStack() as held:
        try:
            held.enter_context(machine_lock(Notes(config), LOCK))
        except KdbenchError as error:
            pytest.exit(f"kdbench: {error.message}; {error.hint}", pytest.ExitCode.USAGE_ERROR)
        yield

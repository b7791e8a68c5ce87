"""Export while the next network trains, in one process that the run starts first and ends before it measures.

The exporter's libraries take seconds to load, and every file takes seconds to write, all on one core. Where the
trainings leave a core free, that costs a run no time. `workers.export` is the process; no torch is imported here.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kdbench.machine.cores import available_cores
from kdbench.meters.choice import choose
from kdbench.meters.meter import Unavailable
from kdbench.processes import children, messages
from kdbench.recipe import Measure, Recipe
from kdbench.results.run_folder import RunFolder

WORKER = children.python("kdbench.workflows.workers.export")
_SILENCE_S = 900.0  # of one export, or of loading the exporter
_MIN_EPOCHS = 40  # of all trainings together: shorter ones are over before the process is ready


class ExportAhead:
    """Exports trained networks in another process; without a process, exports nothing."""

    def __init__(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self._process = process
        self._lines = None if process is None else _lines_of(process)
        self._requested: set[str] = set()
        self._written: dict[str, dict[str, Any]] = {}
        self._folder: RunFolder | None = None

    def request(self, job: str, folder: RunFolder) -> None:
        """Request the export of the trained job with this id, of the recipe in `folder`."""
        if self._process is None:
            return
        if self._folder is None:
            self._folder = folder
            self._send({"folder": str(folder.path)})
        self._requested.add(job)
        self._send({"job": job})

    def is_awaited(self, job: str) -> bool:
        """Return whether the export of a job was requested and its response has not been read yet."""
        return self._process is not None and job in self._requested and job not in self._written

    def written(self, job: str) -> dict[str, Any] | None:
        """Wait for the export of a job; return what `kdbench.workflows.stages.export.WrittenModel` holds.

        None if it was not requested or failed: the caller then exports it itself, and gets the error if there is one.
        """
        if job not in self._requested:
            return None
        while job not in self._written and self._process is not None:
            assert self._lines is not None
            line = next(self._lines, None)
            if line is None:
                self.end()
                break
            self._keep(line)
        return self._written.get(job) or None

    def end(self) -> None:
        """End the process in any state: nothing else may run while something is timed."""
        process, self._process = self._process, None
        if process is None:
            return
        children.end(process)

    def _keep(self, line: bytes) -> None:
        message = messages.read(line)
        if message is not None and "job" in message:
            self._written[message["job"]] = message["written"]

    def _send(self, message: dict[str, str]) -> None:
        if self._process is None:
            return
        try:
            children.send(self._process, message)
        except BrokenPipeError:
            self.end()


@contextmanager
def export_ahead(recipe: Recipe) -> Iterator[ExportAhead]:
    """Start the process if it costs nothing, and end it with the context."""
    process = _start() if is_safe_ahead(recipe) else None
    ahead = ExportAhead(process)
    try:
        yield ahead
    finally:
        ahead.end()


def is_safe_ahead(recipe: Recipe) -> bool:
    """Return whether exporting beside the trainings of a recipe changes nothing but the duration of the run.

    The trainings have to leave a core free, and no meter may count the joules of both. User code is exported by the
    process that loaded it.
    """
    entries = [entry for entry in (*recipe.teacher, *recipe.student) if not entry.is_ready]
    trainings = [entry.training for entry in entries]
    threads = [training.threads for training in trainings]
    known = [count for count in threads if count is not None]
    return (
        not recipe.plugins
        and len(known) == len(threads) > 0
        and max(known) < len(available_cores())
        and all(training.devices == 1 for training in trainings)
        and len(recipe.seeds) * sum(training.last_epoch for training in trainings) >= _MIN_EPOCHS
        and not any(":" in entry.model.name for entry in entries)
        and not has_meter(recipe.measure)
    )


def has_meter(measure: Measure) -> bool:
    """Return whether this machine measures the energy of the calls."""
    if measure.energy == "off":
        return False
    return not isinstance(choose("cpu", estimate=measure.estimate_energy).leading, Unavailable)


def _start() -> "subprocess.Popen[bytes]":
    # Errors are discarded: this process repeats failed exports. A new session, so that Ctrl-C does not reach it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return children.start(WORKER, environment, subprocess.DEVNULL, start_new_session=True)


def _lines_of(process: "subprocess.Popen[bytes]") -> Iterator[bytes | None]:
    assert process.stdout is not None
    return children.lines_within(process.stdout, lambda: _SILENCE_S)

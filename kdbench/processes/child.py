"""A child process in a session of its own, whose output a thread reads into a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from kdbench.processes import children, temporary

if TYPE_CHECKING:
    from typing_extensions import Self


class ChildProcess:
    """A process that runs `command`; it puts itself and each line of its output into `lines`.

    Several processes may share the queue. None in place of a line means that the output has ended. Ctrl-C does not
    reach the process, so that its parent ends it in order, by `end`.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], lines: SimpleQueue[tuple[Self, bytes | None]]
    ) -> None:
        self._stderr = temporary.file()
        self._process = children.start(command, environment, self._stderr, start_new_session=True)
        assert self._process.stdout is not None
        Thread(target=self._read, args=(self._process.stdout, lines), daemon=True).start()

    def send(self, message: Any) -> None:
        """Send a message; if the process has ended, its output ends, too."""
        with suppress(BrokenPipeError):
            children.send(self._process, message)

    def wait(self) -> int:
        """Wait until the process ends; return its exit code, or minus the signal that ended it."""
        return self._process.wait()

    def errors(self) -> str:
        """Return what the process has written to standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip()

    def end(self) -> None:
        """End the process in any state."""
        children.end(self._process)
        self._stderr.close()

    def _read(self, stdout: IO[bytes], lines: SimpleQueue[tuple[Self, bytes | None]]) -> None:
        with suppress(ValueError):  # closed by `end`
            for line in stdout:
                lines.put((self, line))
        lines.put((self, None))

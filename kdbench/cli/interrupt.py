"""A signal ends the process within two seconds in any state; unfinished work is undone.

There is one path for Ctrl-C, SIGTERM, SIGHUP and the other signals that ask a process to end. Python runs signal
handlers between bytecodes of the main thread, so a long call into C (a training step, an export) delays
KeyboardInterrupt for as long as it lasts. The interpreter's wake-up descriptor is written by the C-level handler at
once; a thread reads it and ends the process if the orderly exit takes too long. `fired` also reports a signal that a
library swallows.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from kdbench.errors import EXIT_INTERRUPTED
from kdbench.processes import cleanup

_END = b"\0"  # no signal has the number 0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_CHILDREN_S = 0.5  # for killed children to be gone


class Interrupts:
    """Watches for signals to end; `fired` is the number of the first one that came. `last_line` returns the last line.

    SIGINT is watched even where it was ignored, as in a shell script's background jobs; the others are not, because
    `nohup` means it.
    """

    def __init__(self, last_line: Callable[[], str], grace_s: float = 1.0) -> None:
        self.fired: int | None = None
        self._last_line = last_line
        self._grace_s = grace_s
        self._report_lock = threading.Lock()
        self._pair: tuple[socket.socket, socket.socket] | None = None

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect after the signal: 128 and its number."""
        return EXIT_INTERRUPTED if self.fired is None else 128 + self.fired

    def clean_up(self) -> None:
        """Print the last line, end child processes, including those of libraries, and undo unfinished work."""
        self.report_interruption()
        _end_children()
        cleanup.undo_all()

    def report_interruption(self) -> None:
        """Write once, to standard error, that the work was interrupted and how to continue."""
        if self._report_lock.acquire(blocking=False):
            # Written to the descriptor: the thread that hangs may hold the stream's lock.
            show_cursor = "\x1b[?25h" if os.isatty(2) else ""
            by = f" by {signal.Signals(self.fired).name}" if self.fired not in {None, signal.SIGINT} else ""
            with contextlib.suppress(OSError):  # the terminal may be gone
                os.write(2, f"{show_cursor}\ninterrupted{by}\nhint: {self._last_line()}\n".encode())

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the signals while the block runs; the first one raises KeyboardInterrupt in it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = self._pair = socket.socketpair()  # not closed: the thread reads on after this block
        writer.setblocking(False)
        watched = [
            number for number in _SIGNALS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
        ]
        before = {number: signal.signal(number, self._raise) for number in watched}
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reader,), daemon=True, name="interrupts").start()
        try:
            yield
        finally:
            if self.fired is None:
                signal.set_wakeup_fd(descriptor)
                for number, handler in before.items():
                    signal.signal(number, handler)
                writer.send(_END)

    def _raise(self, number: int, _frame: FrameType | None) -> None:
        if self.fired is None:  # a further one is the listening thread's: raised here, it would end the cleaning up
            self.fired = number
            raise KeyboardInterrupt

    def _listen(self, reader: socket.socket) -> None:
        number = _wait_for_signal(reader)
        if number is None:
            return
        deadline = time.monotonic() + self._grace_s
        while (left := deadline - time.monotonic()) > 0:
            reader.settimeout(left)
            with contextlib.suppress(TimeoutError):
                if _wait_for_signal(reader) is not None:
                    break
        # The grace period is over, or a second signal came: end the process and its children now.
        if self.fired is None:
            self.fired = number
        self.clean_up()
        os._exit(self.exit_code)


def _end_children() -> None:
    import psutil  # after the last line, which must not wait for an import

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(children, timeout=_CHILDREN_S)  # before what they write to is removed


def _wait_for_signal(reader: socket.socket) -> int | None:
    """Wait for one of the signals and return its number; None when the watch ends without one."""
    while (number := reader.recv(1)) != _END:
        if number[0] in _SIGNALS:
            return number[0]
    return None

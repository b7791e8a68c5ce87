"""Ctrl-C ends the process within two seconds, whatever it is doing, and prints how to continue.

Python runs signal handlers between bytecodes of the main thread, so a long call into C (a training step, an
export) delays KeyboardInterrupt for as long as it lasts. The interpreter's wake-up descriptor is written by
the C-level handler at once; a thread reads it and ends the process if the orderly exit takes too long. `fired` also
reports an interrupt that a library swallows.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from kdbench.errors import EXIT_INTERRUPTED

_END = b"\0"  # no signal has the number 0


class Interrupts:
    """Watches for SIGINT; `fired` is whether it came. `farewell` returns the last line to print."""

    def __init__(self, farewell: Callable[[], str], grace_s: float = 1.0) -> None:
        self.fired = False
        self._farewell = farewell
        self._grace_s = grace_s
        self._farewell_lock = threading.Lock()
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def say_farewell(self) -> None:
        """Write once, to standard error, that the work was interrupted and how to continue."""
        if self._farewell_lock.acquire(blocking=False):
            # Written to the descriptor: the thread that hangs may hold the stream's lock.
            show_cursor = "\x1b[?25h" if os.isatty(2) else ""
            os.write(2, f"{show_cursor}\ninterrupted\nhint: {self._farewell()}\n".encode())

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch SIGINT while the block runs; KeyboardInterrupt reaches the block as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = self._pair = socket.socketpair()  # not closed: the thread reads on after this block
        writer.setblocking(False)
        before = signal.signal(signal.SIGINT, self._raise)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reader,), daemon=True, name="interrupts").start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            signal.signal(signal.SIGINT, before)
            writer.send(_END)

    def _raise(self, _number: int, _frame: FrameType | None) -> NoReturn:
        self.fired = True
        raise KeyboardInterrupt

    def _listen(self, reader: socket.socket) -> None:
        if not _sigint_comes(reader):
            return
        deadline = time.monotonic() + self._grace_s
        while (left := deadline - time.monotonic()) > 0:
            reader.settimeout(left)
            with contextlib.suppress(TimeoutError):
                if _sigint_comes(reader):
                    break
        # The grace period is over, or Ctrl-C came twice: end the process and its children now.
        self.say_farewell()
        import psutil  # after the farewell, which must not wait for an import

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(EXIT_INTERRUPTED)


def _sigint_comes(reader: socket.socket) -> bool:
    """Wait for SIGINT; return False when the watch ends without one."""
    while (number := reader.recv(1)) != _END:
        if number[0] == signal.SIGINT:
            return True
    return False

"""A power meter made a counter: its readings are taken by a thread of their own and added up."""

import threading
import time
from abc import ABC, abstractmethod

from kdbench.meters.meter import Clock, MeterError


class PolledMeter(ABC):
    """The energy below a line through readings of power, each `poll_s` seconds after the one before.

    A thread reads from the first `read` on until `close`, and sleeps in between, so that it costs the models' work next
    to nothing. `background` False leaves the thread out: then `read` takes a reading itself whenever
    one is due, which is how a test drives it with a clock of its own.
    """

    stepped = False
    poll_s: float

    def __init__(self, clock: Clock = time.monotonic_ns, *, background: bool = True) -> None:
        self._clock = clock
        self._background = background
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: tuple[int, float] | None = None  # time and power of the last reading
        self._joules = 0.0
        self._failure: MeterError | None = None

    @abstractmethod
    def watts(self) -> float:
        """Return the power now; raises MeterError where the meter does not answer."""

    def read(self) -> tuple[int, float]:
        """Return (time of the last reading, joules up to then since the first one)."""
        if self._last is None:
            self._take()
            if self._background:
                self._ended.clear()
                self._thread = threading.Thread(target=self._keep_taking, name="kdbench-power", daemon=True)
                self._thread.start()
        elif not self._background and self._clock() - self._last[0] >= self.poll_s * 1e9:
            self._take()
        with self._lock:
            if self._failure is not None:
                raise self._failure
            assert self._last is not None
            return self._last[0], self._joules

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._last, self._joules, self._failure = None, None, 0.0, None

    def _keep_taking(self) -> None:
        while not self._ended.wait(self.poll_s):
            try:
                self._take()
            except MeterError as error:
                with self._lock:
                    self._failure = error
                return

    def _take(self) -> None:
        # A meter that takes long to answer answers for some moment in between.
        asked = self._clock()
        watts = self.watts()
        now = (asked + self._clock()) // 2
        with self._lock:
            if self._last is not None:
                then, before = self._last
                self._joules += (before + watts) / 2 * (now - then) / 1e9
            self._last = now, watts

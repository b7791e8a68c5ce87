"""Energy counters made of power sensors: a thread samples the power, and the samples are integrated."""

import threading
import time
from abc import abstractmethod

from kdbench.meters.meter import Clock, Meter, MeterError


class PolledMeter(Meter):
    """Trapezoidal integral of power samples, one every `poll_s` seconds.

    A thread samples from the first `read` until `close`, and sleeps in between, so it hardly disturbs the models' work.
    With `background` False there is no thread: `read` takes a sample itself whenever one is due (for tests).
    """

    stepped = False
    poll_s: float

    def __init__(self, clock: Clock = time.monotonic_ns, *, background: bool = True) -> None:
        self._clock = clock
        self._background = background
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: tuple[int, float] | None = None  # time and power of the last sample
        self._joules = 0.0
        self._failure: MeterError | None = None

    @abstractmethod
    def watts(self) -> float:
        """Return the power now; raises MeterError if the sensor does not answer."""

    def read(self) -> tuple[int, float]:
        """Return (time of the last sample in monotonic ns, joules from the first sample until then)."""
        if self._last is None:
            self._sample()
            if self._background:
                self._ended.clear()
                self._thread = threading.Thread(target=self._keep_sampling, name="kdbench-power", daemon=True)
                self._thread.start()
        elif not self._background and self._clock() - self._last[0] >= self.poll_s * 1e9:
            self._sample()
        with self._lock:
            if self._failure is not None:
                raise self._failure
            assert self._last is not None
            return self._last[0], self._joules

    def close(self) -> None:
        """Stop the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._last, self._joules, self._failure = None, None, 0.0, None

    def _keep_sampling(self) -> None:
        while not self._ended.wait(self.poll_s):
            try:
                self._sample()
            except MeterError as error:
                with self._lock:
                    self._failure = error
                return

    def _sample(self) -> None:
        # A sensor that takes long to answer measured at some moment in between.
        begin = self._clock()
        watts = self.watts()
        now = (begin + self._clock()) // 2
        with self._lock:
            if self._last is not None:
                then, before = self._last
                self._joules += (before + watts) / 2 * (now - then) / 1e9
            self._last = now, watts

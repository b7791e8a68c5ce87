"""The protocol of an energy meter, the registry of meters, and the base of meters that sample power.

The measuring process reads meters itself, between calls, so this imports the standard library alone.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, Union

from kdbench.registry import Registry

if TYPE_CHECKING:
    from kdbench.results.cards import Evidence

Clock = Callable[[], int]  # monotonic nanoseconds
Pause = Callable[[float], None]  # seconds

_PROOF_TRIES = 50
_PROOF_PAUSE_S = 0.02


class Rank(IntEnum):
    """How directly a meter measures the energy of a part; of several meters, the one with the lowest rank is used."""

    COUNTER = 0  # the part's own energy counter
    POWER = 1  # the part's power, sampled and integrated
    MEAN_POWER = 2  # the same, of a power that the sensor averages over a second or so
    BOARD = 3  # a wider meter, which covers the part and more
    ESTIMATE = 4  # no measurement


class Part:
    """The parts of a machine that meters cover. Meters with a part in common overlap, and are never added."""

    CPU = "cpu"
    GPU = "gpu"
    REST = "rest"


@dataclass(frozen=True)
class Available:
    """A meter whose reading advanced; `detail` describes what it covers on this machine, in a few words."""

    detail: str


@dataclass(frozen=True)
class Unavailable:
    """A meter that cannot be used, with the reason and a remedy.

    `reason` is short, for a table's cell: `RAPL: permission denied`. If this kind of machine never has the meter (no
    Jetson), it is not `expected`, and reports leave its reason out.
    """

    reason: str
    hint: str = ""
    expected: bool = True


State = Union[Available, Unavailable]


class MeterError(RuntimeError):
    """Raised if a meter cannot be read; the message is the reason, in a few words. `state` may hold the remedy too."""

    state: Unavailable | None = None


class MeterFailedError(MeterError):
    """Raised if the meter `name` worked and then failed."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Meter(Protocol):
    """A cumulative energy counter. A meter may inherit the defaults below.

    scope: the hardware that it covers, in words.
    covers: the `Part`s among it.
    stands_for: the parts whose energy its joules may be reported as.
    evidence: how it obtains joules; every measurement records it.
    stepped: True if the counter advances in steps, so that a reading is stale by up to one step; otherwise a reading
        is valid for the time it returns.
    lag_s: how long a change of power takes to show in full.
    """

    name: str
    rank: Rank
    scope: str
    covers: frozenset[str]
    stands_for: frozenset[str]
    evidence: Evidence = "measured"
    stepped: bool = True
    lag_s: float = 0.0

    def available(self) -> State:
        """Return whether the meter can be used here: readable and advancing. Leave nothing running."""

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since some fixed moment); raises MeterError if the meter does not respond."""

    def close(self) -> None:
        """Stop background work; the next `read` starts it again."""


def record_name(name: str, scope: str) -> str:
    """Return the name of a meter in records: `rapl, cpu.package`."""
    return f"{name}, {scope}"


METERS: Registry[Callable[[], Meter]] = Registry(
    "energy meter", package="kdbench.meters", group="kdbench.energy_sources"
)


@dataclass(frozen=True)
class MeterStatus:
    """A meter and whether it can be used on this machine."""

    meter: Meter
    state: State


def advances(meter: Meter, pause: Pause = time.sleep) -> bool:
    """Return whether the meter advances within a second."""
    _, first = meter.read()
    for _ in range(_PROOF_TRIES):
        pause(_PROOF_PAUSE_S)
        if meter.read()[1] > first:
            return True
    return False


def prove(
    meter: Meter,
    pause: Pause,
    detail: Callable[[], str],
    stuck: Unavailable,
    remedy: Callable[[str], str] = lambda _: "",
) -> State:
    """Return whether `meter` can be read and advances; close it afterwards.

    `detail()` describes what the meter covers, `stuck` is the result if it does not advance. `remedy` maps a reason to
    a hint, for errors that have none.
    """
    try:
        return Available(detail()) if advances(meter, pause) else stuck
    except MeterError as error:
        return error.state or Unavailable(str(error), remedy(str(error)))
    finally:
        meter.close()


class PolledMeter(Meter):
    """Trapezoidal integral of power samples, one every `poll_s` seconds.

    A thread samples from the first `read` until `close`. It sleeps between samples, so it hardly disturbs the models.
    With `background` False there is no thread: `read` itself samples whenever a sample is due (for tests).
    """

    stepped = False
    poll_s: float

    def __init__(self, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep, *, background: bool = True) -> None:
        self._clock = clock
        self._pause = pause
        self._background = background
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: tuple[int, float] | None = None  # time and power of the last sample
        self._joules = 0.0
        self._failure: MeterError | None = None

    @abstractmethod
    def watts(self) -> float:
        """Return the current power in watts; raises MeterError if the sensor does not respond."""

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
        # A slow sensor measures at an unknown moment between the call and its return.
        begin = self._clock()
        watts = self.watts()
        now = (begin + self._clock()) // 2
        with self._lock:
            if self._last is not None:
                then, before = self._last
                self._joules += (before + watts) / 2 * (now - then) / 1e9
            self._last = now, watts

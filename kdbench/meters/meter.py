"""What an energy source is, and the register of those there are.

The measuring process reads sources itself, between calls: the standard library alone is imported here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from kdbench.registry import Registry

if TYPE_CHECKING:
    from kdbench.results.cards import Evidence

Clock = Callable[[], int]  # monotonic nanoseconds
Pause = Callable[[float], None]  # seconds

_PROOF_TRIES = 50
_PROOF_PAUSE_S = 0.02


class Rank(IntEnum):
    """How near a source is to the energy of the part that is asked for; of several, the first is taken."""

    COUNTER = 0  # the part's own energy counter
    POWER = 1  # the part's power, sampled and added up
    MEAN_POWER = 2  # the same, of a power that the sensor averages over a second or so
    BOARD = 3  # a wider meter, which holds the part and more
    ESTIMATE = 4  # no meter at all


class Part:
    """The parts of a machine that meters cover. Scopes that have one in common overlap, and are never added."""

    CPU = "cpu"
    GPU = "gpu"
    REST = "rest"


@dataclass(frozen=True)
class Available:
    """A source whose counter was read and seen to advance; `detail` says what it covers here, in a few words."""

    detail: str


@dataclass(frozen=True)
class Unavailable:
    """A source that cannot be used: why, and what would change that.

    `reason` is short, for a table's cell: `RAPL: permission denied`. Where the machine is not of the source's kind
    at all (no Jetson), it is not `expected`, and its reason is not worth a reader's time.
    """

    reason: str
    hint: str = ""
    expected: bool = True


class CounterError(RuntimeError):
    """A source that could be used and no longer can: its message is the reason, in a few words."""


class MeterFailedError(CounterError):
    """The same, and which source it is, by its name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Counter(Protocol):
    """A cumulative energy counter.

    `scope` names the hardware that it covers, of which `covers` are the `Part`s, and `stands_for` those whose energy it
    may be called; `evidence` is how its joules come about, and is written into every measurement taken with it. A
    counter that is `stepped` moves at moments of its own, and a reading is stale by up to one of its steps; one that is
    not returns what it says as of the time it returns. `lag_s` is how long a change of power takes to show in full.
    """

    name: str
    rank: Rank
    scope: str
    covers: frozenset[str]
    stands_for: frozenset[str]
    evidence: "Evidence"
    stepped: bool
    lag_s: float

    def available(self) -> Available | Unavailable:
        """Say whether it can be used here, proved by a counter that advanced; nothing keeps running afterwards."""

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since some fixed moment); raises CounterError where it no longer answers."""

    def close(self) -> None:
        """End whatever runs in the background for it; a counter that was closed starts anew when read again."""


def in_records(name: str, scope: str) -> str:
    """Return a source as records name it: `rapl, cpu.package`."""
    return f"{name}, {scope}"


SOURCES: Registry[Callable[[], Counter]] = Registry(
    "energy source", package="kdbench.meters", group="kdbench.energy_sources"
)


@dataclass(frozen=True)
class MeterStatus:
    """A source and whether it can be used on this machine."""

    counter: Counter
    state: Available | Unavailable


def advances(counter: Counter, pause: Pause = time.sleep) -> bool:
    """Return whether the counter moves within a second: one that stands still measures nothing."""
    _, first = counter.read()
    for _ in range(_PROOF_TRIES):
        pause(_PROOF_PAUSE_S)
        if counter.read()[1] > first:
            return True
    return False

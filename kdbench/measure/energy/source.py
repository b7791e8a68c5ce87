"""What an energy source is, and the register of those there are.

The measuring process reads sources itself, between calls: the standard library alone is imported here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kdbench.registry import Registry

if TYPE_CHECKING:
    from kdbench.records import Evidence

Clock = Callable[[], int]  # monotonic nanoseconds
Pause = Callable[[float], None]  # seconds

_PROOF_TRIES = 50
_PROOF_PAUSE_S = 0.02


@dataclass(frozen=True)
class Available:
    """A source whose counter was read and seen to advance."""

    detail: str


@dataclass(frozen=True)
class Unavailable:
    """A source that cannot be used: why, and what would change that."""

    reason: str
    hint: str = ""


class Counter(Protocol):
    """A cumulative energy counter.

    `providers` are the execution providers whose work it counts; `scope` names the hardware it covers, so that
    scopes that overlap are never added; `evidence` is how its joules come about, and is written
    into every measurement taken with it.
    """

    name: str
    providers: frozenset[str]
    scope: str
    evidence: "Evidence"

    def available(self) -> Available | Unavailable:
        """Say whether it can be used here, proved by a counter that advanced."""

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since some fixed moment); never decreases."""


SOURCES: Registry[Callable[[], Counter]] = Registry(
    "energy source", package="kdbench.measure.energy", group="kdbench.energy_sources"
)


@dataclass(frozen=True)
class Found:
    """A source and whether it can be used on this machine."""

    counter: Counter
    state: Available | Unavailable

    def __str__(self) -> str:
        if isinstance(self.state, Available):
            return f"{self.counter.name}: {self.state.detail}"
        return f"{self.state.reason}; {self.state.hint}" if self.state.hint else self.state.reason


def sources(provider: str | None = None) -> list[Found]:
    """Return every source that counts the work of `provider` (of any, by default), and whether it can be used."""
    counters = [make() for _, make in SOURCES]
    return [Found(c, c.available()) for c in counters if provider is None or provider in c.providers]


def advances(counter: Counter, pause: Pause) -> bool:
    """Return whether the counter moves within a second: one that stands still measures nothing."""
    _, first = counter.read()
    for _ in range(_PROOF_TRIES):
        pause(_PROOF_PAUSE_S)
        if counter.read()[1] > first:
            return True
    return False

"""The energy of a training: the meter's interface, and the sums over epochs. `measure` has the meters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kdbench.results.cards import EnergyUse


class EnergyMeter(Protocol):
    """An energy meter; `refusal` says why it has no readings, or no longer has any."""

    refusal: str | None

    def read(self) -> Mapping[str, float]:
        """Return the joules of each source since a fixed moment; empty if there are none. Never raises."""

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:
        """Return the entries of a card for `joules`, the energy of `epochs` epochs that took `seconds` in total."""


@dataclass
class Unmetered:
    """The stand-in for a meter that is missing; `refusal` says why."""

    refusal: str | None

    def read(self) -> Mapping[str, float]:
        """Return nothing."""
        return {}

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:  # noqa: ARG002
        """Return nothing."""
        return ()


NO_METER = Unmetered("energy is switched off")


class EpochEnergy:
    """The joules of a training's epochs by source, summed over interruptions.

    `epochs` counts the epochs that each source metered: after an interruption other sources may be available, and
    joules of two sources cannot be added.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter = meter
        self._begin: Mapping[str, float] = {}
        self.joules: dict[str, float] = {}
        self.epochs: dict[str, int] = {}

    def begin(self) -> None:
        """Mark the beginning of an epoch."""
        self._begin = self._meter.read()

    def end(self) -> None:
        """Add the energy used since the beginning of the epoch."""
        end = self._meter.read()
        for source in end.keys() & self._begin.keys():
            self.joules[source] = self.joules.get(source, 0.0) + end[source] - self._begin[source]
            self.epochs[source] = self.epochs.get(source, 0) + 1

    def uses(self, epochs: int, seconds: float) -> tuple[tuple[EnergyUse, ...], str | None]:
        """Return the energy of a training of `epochs` epochs and `seconds`, or none and the reason."""
        if self._meter.refusal is not None:
            return (), self._meter.refusal
        complete = {source: joules for source, joules in self.joules.items() if self.epochs[source] == epochs}
        uses = self._meter.uses(complete, seconds, epochs)
        leading = next(iter(self._meter.read()), None)
        if leading in complete:
            return uses, None
        return (), f"{self.epochs.get(leading or '', 0)} of {epochs} epochs were metered"

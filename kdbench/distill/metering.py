"""What a training asks of a meter of energy; the meters themselves belong to measuring, which it knows nothing of."""

from collections.abc import Mapping
from typing import Protocol

from kdbench.results.cards import EnergyUse


class EnergyMeter(Protocol):
    """Joules by the source that counts them; `refusal` says why there are none, or none any more."""

    refusal: str | None

    def read(self) -> Mapping[str, float]:
        """Return the joules of each source since some fixed moment; empty where there are none. Never raises."""

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:
        """Return differences of readings, summed over `epochs` of `seconds` in all, as a card holds them."""


class Unmetered:
    """No meter, and why: `refusal`."""

    def __init__(self, refusal: str) -> None:
        self.refusal: str | None = refusal

    def read(self) -> Mapping[str, float]:
        """Return nothing."""
        return {}

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:
        """Return nothing."""
        del joules, seconds, epochs
        return ()


class EpochEnergy:
    """The joules of a training's epochs by source, added up over interruptions.

    `epochs` counts for each source those that it metered: another one may be there after an interruption, and the
    joules of two parts of a training by two meters are nobody's.
    """

    def __init__(self, meter: EnergyMeter | None) -> None:
        self._meter = meter
        self._begin: Mapping[str, float] = {}
        self.joules: dict[str, float] = {}
        self.epochs: dict[str, int] = {}

    def begin(self) -> None:
        """Mark the beginning of an epoch."""
        self._begin = self._meter.read() if self._meter else {}

    def end(self) -> None:
        """Add what was used since the beginning."""
        end = self._meter.read() if self._meter else {}
        for source in end.keys() & self._begin.keys():
            self.joules[source] = self.joules.get(source, 0.0) + end[source] - self._begin[source]
            self.epochs[source] = self.epochs.get(source, 0) + 1

    def uses(self, epochs: int, seconds: float) -> tuple[tuple[EnergyUse, ...], str | None]:
        """Return the energy of a training of so many epochs and seconds, or none and the reason."""
        if self._meter is None:
            return (), "energy was not asked for"
        if self._meter.refusal is not None:
            return (), self._meter.refusal
        whole = {source: joules for source, joules in self.joules.items() if self.epochs[source] == epochs}
        found = self._meter.uses(whole, seconds, epochs)
        leading = next(iter(self._meter.read()), None)
        if leading in whole:
            return found, None
        return (), f"{self.epochs.get(leading or '', 0)} of {epochs} epochs were metered"

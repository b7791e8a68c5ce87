"""What a training asks of a meter of energy; the meters themselves belong to measuring, which it knows nothing of."""

from collections.abc import Mapping
from typing import Protocol

from kdbench.cards import EnergyUse


class EnergyMeter(Protocol):
    """Joules by the hardware they were used in; `refusal` says why there are none, or none any more."""

    refusal: str | None

    def read(self) -> Mapping[str, float]:
        """Return the joules of each scope since some fixed moment; empty where there are none. Never raises."""

    def uses(self, joules: Mapping[str, float], seconds: float) -> tuple[EnergyUse, ...]:
        """Return differences of readings, taken over `seconds`, as a card holds them."""


class EpochEnergy:
    """The joules of a training's epochs, added up over interruptions; `epochs` counts those that were metered."""

    def __init__(self, meter: EnergyMeter | None) -> None:
        self._meter = meter
        self._begin: Mapping[str, float] = {}
        self.joules: dict[str, float] = {}
        self.epochs = 0

    def begin(self) -> None:
        """Mark the beginning of an epoch."""
        self._begin = self._meter.read() if self._meter else {}

    def end(self) -> None:
        """Add what was used since the beginning."""
        end = self._meter.read() if self._meter else {}
        if not end or end.keys() != self._begin.keys():
            return
        self.joules = {scope: self.joules.get(scope, 0.0) + end[scope] - self._begin[scope] for scope in end}
        self.epochs += 1

    def uses(self, epochs: int, seconds: float) -> tuple[tuple[EnergyUse, ...], str | None]:
        """Return the energy of a training of so many epochs and seconds, or none and the reason."""
        if self._meter is None:
            return (), "energy was not asked for"
        if self.epochs == epochs:
            return self._meter.uses(self.joules, seconds), None
        return (), self._meter.refusal or f"{self.epochs} of {epochs} epochs were metered"

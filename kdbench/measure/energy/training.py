"""The energy of trainings: metered in this process at marks that the training sets, and reported from a card."""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from kdbench.measure.energy.carbon import carbon_intensity, emission
from kdbench.meters.choice import choose
from kdbench.meters.meter import Meter, MeterError, Unavailable, record_name
from kdbench.results.cards import EnergyUse, ModelCard
from kdbench.results.records import Axes, Measurement, measured, missing
from kdbench.worker.energy_window import update_period_ns

_KEEP_ALIVE_S = 10.0  # RAPL's counters wrap within minutes on a large machine, and a wrap between two reads is lost


class EpochMeter:
    """Reads every meter of what runs on `provider` from entry to exit; it never stops the training.

    If no meter counts the part that computes, or that meter fails, `read` returns nothing from then on, and `refusal`
    says why. Any other meter that fails is left out.
    """

    def __init__(self, provider: str, *, estimate: bool) -> None:
        self._provider, self._estimate = provider, estimate
        self._meters: list[Meter] = []
        self._period_s: dict[str, float] = {}
        self._failed: set[str] = set()  # names of meters
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="kdbench-energy", daemon=True)
        self.refusal: str | None = None

    def __enter__(self) -> Self:
        choice = choose(self._provider, estimate=self._estimate)
        if isinstance(choice.leading, Unavailable):
            self.refusal = choice.leading.reason
            return self
        self._meters = [status.meter for status in choice.used]
        for meter in self._meters:
            try:
                self._period_s[meter.name] = update_period_ns(meter) / 1e9
            except MeterError as error:
                self._fail(meter, str(error))
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for meter in self._meters:
            meter.close()

    def read(self) -> dict[str, float]:
        """Return the joules of each meter since some fixed moment, the part that trains first; empty without it."""
        return self._read(self._meters)

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:
        """Return the energy of each meter in `joules`, over `epochs` epochs that took `seconds` together.

        The uncertainty comes from the counter's steps at both ends of every epoch.
        """
        return tuple(
            EnergyUse(
                scope=meter.scope,
                source=meter.name,
                evidence=meter.evidence,
                energy_j=used_j,
                # A step is one period's worth of power, uniformly distributed.
                half_width_j=2 * self._period_s.get(meter.name, 0.0) * used_j / seconds * math.sqrt(epochs / 3)
                if seconds > 0
                else used_j,
            )
            for meter in self._meters
            if (used_j := joules.get(_key(meter))) is not None
        )

    def _read(self, meters: Sequence[Meter]) -> dict[str, float]:
        """Return the readings of `meters`; a meter that fails is left out from then on."""
        with self._lock:
            joules = {}
            for meter in (meter for meter in meters if meter.name not in self._failed):
                try:
                    joules[_key(meter)] = meter.read()[1]
                except MeterError as error:
                    self._fail(meter, str(error))
            return joules if self.refusal is None else {}

    def _fail(self, meter: Meter, reason: str) -> None:
        self._failed.add(meter.name)
        if meter is self._meters[0]:
            self.refusal = reason

    def _keep_alive(self) -> None:
        wrapping = [meter for meter in self._meters if meter.stepped]
        while not self._ended.wait(_KEEP_ALIVE_S):
            self._read(wrapping)


def _key(meter: Meter) -> str:
    """Return the key of a meter's joules, the same in this process and in one that resumes its work."""
    return record_name(meter.name, meter.scope)


_MAX_HALF_WIDTH = 0.05  # of the energy; beyond it the value is unstable


def training_energy(card: ModelCard, country: str | None) -> Iterator[Measurement]:
    """Yield the energy of a model's training: of the part that trained it, of the others by scope, and their sum.

    With a `country` each is followed by its CO₂e. A model that was not trained here yields nothing.
    """
    if card.training is None:
        return
    uses, intensity = card.training.energy, carbon_intensity(country) if country is not None else None
    parts: list[tuple[Sequence[EnergyUse], Axes]] = [
        (uses[:1], {}),
        *(([use], {"scope": use.scope}) for use in uses[1:]),
    ]
    if len(uses) > 1:
        parts.append((uses, {"scope": " + ".join(use.scope for use in uses)}))
    for part, axes in parts:
        energy = _measurement(card.id, part, axes, card.training.unmetered)
        yield energy
        if intensity is not None:
            yield emission(energy, "training_co2_g", intensity)


def _measurement(model: str, uses: Sequence[EnergyUse], axes: Axes, unmetered: str | None) -> Measurement:
    """Return the sum of `uses`, without an interval: one training does not show how trainings vary.

    Only the part of the uncertainty that comes from the counter's steps is known. Without uses, `unmetered` says why.
    """
    if not uses:
        return missing(model, "training_j", unmetered or "it was not metered")
    joules = sum(use.energy_j for use in uses)
    estimated = next((use.evidence for use in uses if use.evidence != "measured"), None)
    half = 0.0 if estimated else sum(use.half_width_j**2 for use in uses) ** 0.5
    source = "; ".join(record_name(use.source, use.scope) for use in uses)
    if joules <= half:
        reason = "shorter than the meter's steps"
        return missing(model, "training_j", reason, status="below_resolution", axes=axes, source=source)
    coarse = f"known to ±{100 * half / joules:.0f} %, by the meter's steps" if half > _MAX_HALF_WIDTH * joules else None
    return measured(
        model, "training_j", joules, axes=axes, n=1, source=source, evidence=estimated or "measured", unstable=coarse
    )

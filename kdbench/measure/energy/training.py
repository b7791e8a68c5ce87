"""The energy of trainings: metered in this process whenever the training reads the meters, and reported from a card."""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from kdbench.measure.energy.carbon import carbon_intensity, emission
from kdbench.meters.choice import choose
from kdbench.meters.meter import Meter, MeterError, Unavailable, record_name
from kdbench.results.cards import EnergyUse, ModelCard
from kdbench.results.records import Axes, Measurement, measured, missing
from kdbench.worker.energy_window import update_period_ns

_READ_INTERVAL_S = 10.0  # RAPL's counters wrap within minutes on a large machine: reads at longer intervals miss a wrap


class EpochMeter:
    """Reads the meters of the parts of the machine that compute with `provider`; it never stops the training.

    It is a context manager: the meters are open in its block. If no meter counts the part that trains, or that meter
    fails, `read` returns nothing from then on, and `refusal` says why. Any other meter that fails is not read again.
    """

    def __init__(self, provider: str, *, estimate: bool) -> None:
        self._provider, self._estimate = provider, estimate
        self._meters: list[Meter] = []
        self._period_s: dict[str, float] = {}
        self._failed: set[str] = set()  # names of meters
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read_repeatedly, name="kdbench-energy", daemon=True)
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
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._reader.is_alive():
            self._reader.join()
        for meter in self._meters:
            meter.close()

    def read(self, meters: Sequence[Meter] | None = None) -> dict[str, float]:
        """Return the joules of `meters` (default: all) since a fixed moment, by name.

        The meter of the part that trains is first; if it failed, the result is empty. Any other meter that failed is
        missing.
        """
        with self._lock:
            joules = {}
            for meter in self._meters if meters is None else meters:
                if meter.name not in self._failed:
                    try:
                        joules[record_name(meter.name, meter.scope)] = meter.read()[1]
                    except MeterError as error:
                        self._fail(meter, str(error))
            return joules if self.refusal is None else {}

    def uses(self, joules: Mapping[str, float], seconds: float, epochs: int) -> tuple[EnergyUse, ...]:
        """Return the energy of each meter in `joules`, from `epochs` epochs that took `seconds` in total.

        The uncertainty comes from the counter's steps at the beginning and end of every epoch.
        """
        uses = []
        for meter in self._meters:
            energy_j = joules.get(record_name(meter.name, meter.scope))
            if energy_j is not None:
                # A step is the energy of one update period. The error that it causes is uniformly distributed.
                step_j = self._period_s.get(meter.name, 0.0) * energy_j / seconds if seconds > 0 else 0.0
                half_width_j = 2 * step_j * math.sqrt(epochs / 3) if seconds > 0 else energy_j
                use = {"scope": meter.scope, "source": meter.name, "evidence": meter.evidence}
                uses.append(EnergyUse(**use, energy_j=energy_j, half_width_j=half_width_j))
        return tuple(uses)

    def _fail(self, meter: Meter, reason: str) -> None:
        self._failed.add(meter.name)
        if meter is self._meters[0]:
            self.refusal = reason

    def _read_repeatedly(self) -> None:
        """Read the counters so often that they do not wrap unnoticed."""
        counters = [meter for meter in self._meters if meter.stepped]
        while not self._stop.wait(_READ_INTERVAL_S):
            self.read(counters)


_MAX_HALF_WIDTH = 0.05  # as a share of the energy; a value with a wider interval is unstable


def training_energy(card: ModelCard, country: str | None) -> Iterator[Measurement]:
    """Yield the energy of a model's training: of the part that trained it, of other parts by scope, and their sum.

    With a `country` its CO₂e follows each energy. A model that was not trained here has none.
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
    """Return the sum of `uses`, or a missing measurement with the reason `unmetered` if there are none.

    It has no interval: one training does not show how trainings vary. Only the uncertainty from the counter's steps is
    known.
    """
    if not uses:
        return missing(model, "training_j", unmetered or "it was not metered")
    joules = sum(use.energy_j for use in uses)
    estimated = next((use.evidence for use in uses if use.evidence != "measured"), None)
    half_width_j = 0.0 if estimated else sum(use.half_width_j**2 for use in uses) ** 0.5
    source = "; ".join(record_name(use.source, use.scope) for use in uses)
    if joules <= half_width_j:
        reason = "shorter than the meter's steps"
        return missing(model, "training_j", reason, status="below_resolution", axes=axes, source=source)
    coarse = half_width_j > _MAX_HALF_WIDTH * joules
    unstable = f"known to ±{100 * half_width_j / joules:.0f} %, by the meter's steps" if coarse else None
    return measured(
        model, "training_j", joules, axes=axes, n=1, source=source, evidence=estimated or "measured", unstable=unstable
    )

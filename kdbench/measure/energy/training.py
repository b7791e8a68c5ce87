"""The energy of trainings: metered in this process at marks that the training sets, and reported from a card."""

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

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for meter in self._meters:
            meter.close()

    def read(self, meters: Sequence[Meter] | None = None) -> dict[str, float]:
        """Return the joules of `meters` (default: all) since some fixed moment; empty if the training's own failed.

        The meter of the part that trains is first. A meter that fails is left out from then on.
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
        """Return the energy of each meter in `joules`, over `epochs` epochs that took `seconds` together.

        The uncertainty comes from the counter's steps at both ends of every epoch.
        """
        uses = []
        for meter in self._meters:
            energy_j = joules.get(record_name(meter.name, meter.scope))
            if energy_j is not None:
                # A step is one period's worth of power, uniformly distributed.
                step_j = self._period_s.get(meter.name, 0.0) * energy_j / seconds if seconds > 0 else 0.0
                half_width_j = 2 * step_j * math.sqrt(epochs / 3) if seconds > 0 else energy_j
                use = {"scope": meter.scope, "source": meter.name, "evidence": meter.evidence}
                uses.append(EnergyUse(**use, energy_j=energy_j, half_width_j=half_width_j))
        return tuple(uses)

    def _fail(self, meter: Meter, reason: str) -> None:
        self._failed.add(meter.name)
        if meter is self._meters[0]:
            self.refusal = reason

    def _keep_alive(self) -> None:
        wrapping = [meter for meter in self._meters if meter.stepped]
        while not self._ended.wait(_KEEP_ALIVE_S):
            self.read(wrapping)


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

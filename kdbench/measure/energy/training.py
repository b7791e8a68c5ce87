"""The energy of a model's training, from its card, as measurements."""

from collections.abc import Iterator, Sequence

from kdbench.meters.carbon import carbon_intensity, emission
from kdbench.meters.meter import record_name
from kdbench.results.cards import EnergyUse, ModelCard
from kdbench.results.records import Measurement, measured, missing

_MAX_HALF_WIDTH = 0.05  # of the energy; beyond it the value is unstable


def training_energy(card: ModelCard, country: str | None) -> Iterator[Measurement]:
    """Yield the energy of a model's training: of the part that trained it, of the others by scope, and their sum.

    With a `country` each is followed by its CO₂e. A model that was not trained here yields nothing.
    """
    if card.training is None:
        return
    intensity = carbon_intensity(country) if country is not None else None
    for energy in _energies(card.id, card.training.energy, card.training.unmetered):
        yield energy
        if intensity is not None:
            yield emission(energy, "training_co2_g", intensity)


def _energies(model: str, uses: Sequence[EnergyUse], unmetered: str | None) -> Iterator[Measurement]:
    if not uses:
        yield missing(model, "training_j", unmetered or "it was not metered")
        return
    yield _measurement(model, uses[:1], {})
    for number in range(1, len(uses)):
        yield _measurement(model, uses[number : number + 1], {"scope": uses[number].scope})
    if len(uses) > 1:
        yield _measurement(model, uses, {"scope": " + ".join(use.scope for use in uses)})


def _measurement(model: str, uses: Sequence[EnergyUse], axes: dict[str, str | int]) -> Measurement:
    """Return the sum of `uses`, without an interval: one training does not show how trainings vary.

    Only the part of the uncertainty that comes from the counter's steps is known.
    """
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

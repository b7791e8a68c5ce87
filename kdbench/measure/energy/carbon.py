"""Joules as grams of CO₂ equivalent, by the mean carbon intensity of a country's electricity from codecarbon's tables.

The tables are files of the package: nothing asks a service for the machine's location or the grid's current load.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from kdbench import extras
from kdbench.errors import InputError
from kdbench.meters.codecarbon import J_PER_KWH, silenced
from kdbench.registry import nearest
from kdbench.results.records import Interval, Measurement, measured, missing

_CODE_HINT = "give the three-letter code of a country (ISO 3166 alpha-3), such as DEU"


@dataclass(frozen=True)
class CarbonIntensity:
    """The mass of CO₂ equivalent per kWh of a country's electricity, and its source.

    country, name: the ISO 3166 alpha-3 code, and the English name.
    g_per_kwh: the mean over a year of the country's generation, in grams.
    """

    country: str
    name: str
    g_per_kwh: float
    source: str


def grams(joules: float, intensity: CarbonIntensity) -> float:
    """Return the grams of CO₂ equivalent of this electrical energy."""
    return joules / J_PER_KWH * intensity.g_per_kwh


def carbon_intensity(country: str) -> CarbonIntensity:
    """Return the carbon intensity of a country, by its three-letter code in upper or lower case.

    Raises InputError if codecarbon has no value for it (codecarbon itself returns the world's average and only logs
    that), and MissingExtraError if codecarbon is not installed.
    """
    extras.require("estimate", "the carbon intensity of a country")
    with silenced():
        from codecarbon.core.emissions import Emissions
        from codecarbon.core.units import Energy
        from codecarbon.external.geography import GeoMetadata
        from codecarbon.input import DataSource
    tables = DataSource()  # type: ignore[no-untyped-call]
    mixes = tables.get_global_energy_mix_data()
    code = country.strip().upper()
    if code not in mixes:
        raise _unknown(country.strip(), {code: mix["country_name"] for code, mix in mixes.items()})
    if not mixes[code].get("carbon_intensity"):  # one country generates so little electricity that its value is 0
        raise InputError(
            f"codecarbon has no carbon intensity for {mixes[code]['country_name']} ({code})",
            "leave the country out: energy is measured without it",
        )
    with silenced():
        kg_per_kwh = Emissions(tables).get_country_emissions(Energy.from_energy(kWh=1.0), GeoMetadata(code))
    return CarbonIntensity(code, mixes[code]["country_name"], kg_per_kwh * 1000, f"codecarbon {version('codecarbon')}")


def emission(energy: Measurement, metric: str, intensity: CarbonIntensity) -> Measurement:
    """Return the measurement `metric` in grams of CO₂e: the joules of `energy` times a country's carbon intensity."""
    factor = f"{intensity.g_per_kwh:.0f} g/kWh ({intensity.name}, {intensity.source})"
    common: dict[str, Any] = {
        "axes": energy.axes,
        "source": "; ".join(filter(None, (energy.source, factor))),
        "evidence": "modelled" if energy.evidence == "measured" else energy.evidence,
    }
    if energy.value is None:
        reason = energy.reason or ""
        return missing(energy.model, metric, reason, status=energy.status, hint=energy.hint, **common)
    value, interval = grams(energy.value, intensity), energy.interval
    if interval is not None:
        interval = Interval(low=grams(interval.low, intensity), high=grams(interval.high, intensity))
    return measured(energy.model, metric, value, interval=interval, n=energy.n, unstable=energy.reason, **common)


def _unknown(country: str, names: Mapping[str, str]) -> InputError:
    """Return the error for a country that is no code in `names` (code to English name)."""
    by_name = {name.lower(): code for code, name in names.items()}
    if code := by_name.get(country.lower()):
        return InputError(f"{country!r} is not a three-letter country code", f"did you mean {code!r}?")
    hint = _CODE_HINT
    if len(country) == len("DEU"):
        # GER is no code, but Germany begins with it.
        named = [code for name, code in by_name.items() if name.startswith(country.lower())]
        close = named[0] if len(named) == 1 else nearest(country.upper(), list(names))
        if close:
            hint = f"did you mean {close!r} ({names[close]})?"
    return InputError(f"unknown country {country!r}", hint)

"""How energy was metered: scopes in words, and notes on meters, windows and carbon, from the record's protocol."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdbench import units
from kdbench.results.records import Axes, Measurement, RunRecord

_ESTIMATED = "`~` marks an estimate: CPU time × assumed TDP. It is not ranked and not comparable with measurements."
_QUICK = (
    "Quick windows are too short to show changes of clock frequency, fan speed and temperature. Every uncertainty "
    "therefore includes ±{:.0f} % of the gross energy; full windows do not need this."
)
_PARTS = (
    (r"cpu\.package", "the CPU packages"),
    (r"cpu\.estimate", "the CPU"),
    (r"gpu(\d+)\.board", r"the board of GPU \1"),
    (r"module", "the Jetson module"),
    (r"platform", "the whole platform"),
    (r"board\.pmic", "the board, behind its power chip"),
)


def format_scope(scope: str) -> str:
    """Write a scope, or several joined by ` + `, as `the board of GPU 0 and the CPU packages`."""
    return " and ".join(_part(part) for part in scope.split(" + "))


def energies(record: RunRecord, *metrics: str) -> list[Measurement]:
    """Return the measurements of any of `metrics`, those of the part that runs the models first."""
    return sorted((m for m in record.measurements if m.metric in metrics), key=lambda m: "scope" in m.axes)


def scope_of(measurement: Measurement) -> str:
    """Return what a measurement of energy covers; empty if the record does not say."""
    return str(measurement.axes.get("scope", "")) or (measurement.source or "").partition("; ")[0].partition(", ")[2]


def source_text(measurement: Measurement) -> str:
    """Write what a measurement of energy covers and its source: `the CPU packages, by rapl`."""
    name = (measurement.source or "").partition(", ")[0]
    scope = scope_of(measurement)
    return ", ".join([*([format_scope(scope)] if scope else []), *([f"by {name}"] if name else [])])


def metering_notes(record: RunRecord, measured: list[Axes]) -> list[str]:
    """Return the notes on the energies at the axes `measured`: covered parts, meters, windows."""
    energy_pass = _mapping(record.protocol.get("energy_pass"))
    sources = [_mapping(source) for source in energy_pass.get("sources", ())]
    uncounted = [str(reason) for reason in energy_pass.get("uncounted", ())]
    kinds = {m.evidence for m in energies(record, "energy_j", "energy_run_j") if m.value is not None}
    resolution = energy_pass.get("resolution")
    share = resolution if "measured" in kinds and isinstance(resolution, float) else 0.0
    sums = [scope for axes in measured if " + " in (scope := str(axes.get("scope", "")))]
    return [
        *(_source_note(source) for source in sources),
        *([f"Other active parts have no reading: {'; '.join(uncounted)}."] if uncounted else []),
        *([f"The sum covers scopes that have no part in common: {format_scope(scope)}." for scope in sums[:1]]),
        *_window_note(energy_pass),
        *([_QUICK.format(200 * share)] if share > 0 else []),
        *([_ESTIMATED] if "estimated" in kinds else []),
    ]


def carbon_notes(record: RunRecord) -> Iterator[str]:
    """Yield the carbon intensity of a kilowatt-hour that was assumed, where the record has it."""
    carbon = _mapping(record.protocol.get("carbon"))
    intensity = carbon.get("g_per_kwh")
    if isinstance(intensity, int | float):
        place = carbon.get("name") or carbon.get("country")
        source = f" ({carbon['source']})" if carbon.get("source") else ""
        yield (
            f"CO₂e: gross energy × {units.significant(intensity, 3)} g per kWh, the carbon intensity of electricity in "
            f"{place}{source}. It is modelled and covers that energy only."
        )


def _source_note(source: Mapping[str, Any]) -> str:
    """Write one source: what it covers, its update period, and the idle power."""
    verb = "Estimated" if source.get("evidence") == "estimated" else "Metered"
    scope, detail, period = str(source.get("scope", "")), source.get("detail"), source.get("update_period_ms")
    idle = source.get("idle_w")
    watts = [value for value in idle if isinstance(value, int | float)] if isinstance(idle, list | tuple) else []
    parts = [
        f"{verb}: {format_scope(scope)} (`{scope}`), by {source.get('name')}{f': {detail}' if detail else ''}",
        *([f"updated every {units.time(period * 1e6)}"] if isinstance(period, int | float) else []),
        *([f"idle power {units.power(watts[0])} before the windows, {units.power(watts[-1])} after"] if watts else []),
    ]
    return f"{'; '.join(parts)}."


def _window_note(energy_pass: Mapping[str, Any]) -> Iterator[str]:
    count, length, mode = (energy_pass.get(key) for key in ("windows", "window_s", "mode"))
    if count is not None and isinstance(length, int | float):
        in_mode = f" ({mode} mode)" if mode else ""
        yield f"Each value is the median of {count} interleaved windows of at least {length:g} s{in_mode}."


def _part(scope: str) -> str:
    for pattern, words in _PARTS:
        if match := re.fullmatch(pattern, scope):
            return match.expand(words)
    return scope


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

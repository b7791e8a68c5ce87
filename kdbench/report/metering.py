"""What energy was metered with: the scopes in words, and how the windows were taken, from the record's protocol."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdbench import units
from kdbench.results.records import Axes, Measurement, RunRecord

_ESTIMATED = "`~` marks an estimate: CPU time × assumed TDP. It is not ranked, nor to be compared with measurements."
_QUICK = (
    "Quick windows are too short to see clocks, fans and temperature change: ±{:.0f} % of the gross energy is part of "
    "every uncertainty for that, which full windows do without."
)
_PARTS = (
    (r"cpu\.package", "the CPU's packages"),
    (r"cpu\.estimate", "the CPU"),
    (r"gpu(\d+)\.board", r"the board of GPU \1"),
    (r"module", "the Jetson module"),
    (r"platform", "the whole platform"),
    (r"board\.pmic", "the board, behind its power chip"),
)


def scope_in_words(scope: str) -> str:
    """Write a scope, or several joined by ` + `, as `the board of GPU 0 and the CPU's packages`."""
    return " and ".join(_part(part) for part in scope.split(" + "))


def energies(record: RunRecord, *metrics: str) -> list[Measurement]:
    """Return the measurements of any of `metrics`, those of the part that runs the models before those of others."""
    found = [m for m in record.measurements if m.metric in metrics]
    return sorted(found, key=lambda m: "scope" in m.axes)


def scope_of(measurement: Measurement) -> str:
    """Return what a measurement of energy covers; empty if the record does not say."""
    return str(measurement.axes.get("scope", "")) or (measurement.source or "").partition("; ")[0].partition(", ")[2]


def by_whom(measurement: Measurement) -> str:
    """Write what a measurement of energy covers and its source: `the CPU's packages, by rapl`."""
    name = (measurement.source or "").partition(", ")[0]
    scope = scope_of(measurement)
    return ", ".join([*([scope_in_words(scope)] if scope else []), *([f"by {name}"] if name else [])])


def notes_on_metering(record: RunRecord, taken: list[Axes]) -> list[str]:
    """Return what must be known of the energies at the axes `taken`: of what, by what, in which windows."""
    energy_pass = _mapping(record.protocol.get("energy_pass"))
    sources = [_mapping(source) for source in energy_pass.get("sources", ())]
    uncounted = [str(reason) for reason in energy_pass.get("uncounted", ())]
    kinds = {m.evidence for m in energies(record, "energy_j", "energy_run_j") if m.value is not None}
    metered, estimated = "measured" in kinds, "estimated" in kinds
    resolution = energy_pass.get("resolution")
    sums = [scope for axes in taken if " + " in (scope := str(axes.get("scope", "")))]
    return [
        *(_source(source) for source in sources),
        *([f"Other parts at work have no number: {'; '.join(uncounted)}."] if uncounted else []),
        *([f"The sum is of scopes that have no part in common: {scope_in_words(scope)}." for scope in sums[:1]]),
        *_windows(energy_pass),
        *([_QUICK.format(200 * resolution)] if metered and isinstance(resolution, float) and resolution > 0 else []),
        *([_ESTIMATED] if estimated else []),
    ]


def notes_on_carbon(record: RunRecord) -> Iterator[str]:
    """Yield how much carbon dioxide a kilowatt-hour was taken to stand for, where the record knows."""
    carbon = _mapping(record.protocol.get("carbon"))
    intensity = carbon.get("g_per_kwh")
    if isinstance(intensity, int | float):
        place = carbon.get("name") or carbon.get("country")
        source = f" ({carbon['source']})" if carbon.get("source") else ""
        yield (
            f"CO₂e: gross energy × {units.significant(intensity, 3)} g per kWh, the carbon intensity of electricity in "
            f"{place}{source}. It is modelled, and of that energy alone."
        )


def _source(source: Mapping[str, Any]) -> str:
    """Write one source: what it covers, how often it moves, and the idle power it saw."""
    verb = "Estimated" if source.get("evidence") == "estimated" else "Metered"
    scope, detail, period = str(source.get("scope", "")), source.get("detail"), source.get("update_period_ms")
    parts = [
        f"{verb}: {scope_in_words(scope)} (`{scope}`), by {source.get('name')}{f': {detail}' if detail else ''}",
        *([f"updated every {units.time(period * 1e6)}"] if isinstance(period, int | float) else []),
        *_idle(source.get("idle_w")),
    ]
    return f"{'; '.join(parts)}."


def _idle(watts: Any) -> Iterator[str]:
    known = [each for each in watts if isinstance(each, int | float)] if isinstance(watts, list | tuple) else []
    if known:
        yield f"idle {units.power(known[0])} before the windows, {units.power(known[-1])} after them"


def _windows(energy_pass: Mapping[str, Any]) -> Iterator[str]:
    count, length, mode = (energy_pass.get(key) for key in ("windows", "window_s", "mode"))
    if count is None or not isinstance(length, int | float):
        return
    yield (
        f"Each number is the median of {count} windows of {length:g} s or more{f' ({mode} mode)' if mode else ''}, in "
        "which the models took turns."
    )


def _part(scope: str) -> str:
    for pattern, words in _PARTS:
        if found := re.fullmatch(pattern, scope):
            return found.expand(words)
    return scope


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

"""Energy per inference and per run: what was metered and how, and the energy columns of summary and ratios."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kdbench import units
from kdbench.report.axes import axes_columns, common_axes, format_axes, protocol_batch, unique
from kdbench.report.cells import Cell, Number, listed, sentence
from kdbench.report.model_groups import ModelGroup, model_groups, teacher_of
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Field, Table, axes_table, column, metric_field
from kdbench.results.records import Axes, Measurement, RunRecord
from kdbench.results.records.index import once_per_record

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
    parts = scope.split(" + ")
    for pattern, words in _PARTS:
        parts = [re.sub(f"^{pattern}$", words, part) for part in parts]
    return " and ".join(parts)


def energies(record: RunRecord, *metrics: str) -> list[Measurement]:
    """Return the measurements of any of `metrics`, the part that runs the models first."""
    return sorted(record.measurement_index.having(*metrics), key=lambda m: "scope" in m.axes)


def scope_of(measurement: Measurement) -> str:
    """Return what a measurement of energy covers; empty if the record does not contain it."""
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
        f"Other active parts have no reading: {'; '.join(uncounted)}." if uncounted else "",
        *([f"The sum covers scopes that have no part in common: {format_scope(scope)}." for scope in sums[:1]]),
        *_window_note(energy_pass),
        _QUICK.format(200 * share) if share > 0 else "",
        _ESTIMATED if "estimated" in kinds else "",
    ]


def carbon_notes(record: RunRecord) -> Iterator[str]:
    """Yield the assumed carbon intensity of a kilowatt-hour, if the record has it."""
    carbon = _mapping(record.protocol.get("carbon"))
    intensity = carbon.get("g_per_kwh")
    if isinstance(intensity, int | float):
        country = carbon.get("name") or carbon.get("country")
        source = f" ({carbon['source']})" if carbon.get("source") else ""
        yield (
            f"CO₂e: gross energy × {units.significant(intensity, 3)} g per kWh, the carbon intensity of electricity in "
            f"{country}{source}. It is modelled and covers that energy only."
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


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_METRICS = ("energy_j", "energy_net_j", "energy_run_j")
_HEADS = {"energy_net_j": "Net / inference"}
_NOT_REQUESTED = ("switched off", "not asked for")  # in the reasons of runs without energy, now and before


def energy(record: RunRecord) -> Table:
    """Return gross and net energy of every model at every batch, for every scope that was metered.

    Models without energy have a note instead of rows of reasons; if no model has any, the table is those notes.
    """
    valued = [m for m in energies(record, *_METRICS) if m.value is not None]
    models = {m.model for m in valued}
    refusals = tuple(_refusal_notes(record, models))
    if not valued:
        return Table("Energy", (), (), refusals)
    measured = _measured_axes(record)
    columns = axes_columns(measured, always=("batch",), defaults={"scope": scope_of(valued[0])})
    estimated = all(m.evidence == "estimated" for m in valued)
    with_carbon = any(m.value is not None for m in energies(record, "co2_g"))
    metrics = [metric for metric in _METRICS if metric != "energy_net_j" or not estimated]
    metrics += ["co2_g"] if with_carbon else []
    rows = [
        (axes, group)
        for axes in measured
        for group in model_groups(record)
        if any(m.axes == axes for id_ in group.ids if id_ in models for m in _energies_of(record, id_))
    ]
    fields = [
        *(metric_field(record, metric, head=_HEADS.get(metric, column(metric).head)) for metric in metrics),
        *([Field(column("energy_ratio"), lambda group, at: _ratio(record, group, at))] if has_ratios(record) else []),
    ]
    common = common_axes(measured, [*columns, "Scope"])
    explanation = (
        "The estimate has no idle power: it covers the work of the models only"
        if estimated
        else "Gross energy is all energy drawn in a window, including idle power; net energy excludes the idle power, "
        "which is measured with the models loaded"
    )
    notes = [
        f"{explanation}. A run is one call with one batch{format_axes(common, '. All at ')}.",
        *metering_notes(record, measured),
        *(carbon_notes(record) if with_carbon else []),
        *refusals,
    ]
    return axes_table("Energy", rows, columns, fields, notes)


def _energies_of(record: RunRecord, model: str) -> list[Measurement]:
    return [m for m in record.measurement_index.for_model(model) if m.metric in _METRICS]


@once_per_record
def run_batch(record: RunRecord) -> int:
    """Return the batch of the summary's energies: the protocol's largest, or the largest with a value."""
    requested = protocol_batch(record)
    valued = [m for m in energies(record, "energy_run_j") if m.value is not None]
    free = [m for m in valued if record.cards[m.model].fixed_batch is None]
    batches = {batch for m in free or valued if isinstance(batch := m.axes.get("batch"), int)}
    return requested if requested in batches or not batches else max(batches)


def energy_per_run(record: RunRecord, group: ModelGroup) -> Number:
    """Return the energy of one run at `run_batch`, or, labelled, at another batch at which it was measured."""
    metric, batch = "energy_run_j", run_batch(record)
    if any(record.find(id_, metric, batch=batch) for id_ in group.ids):
        return number(record, group, metric, {"batch": batch})
    cell = number(record, group, metric)
    measurements = [m for id_ in group.ids if (m := record.find(id_, metric))]
    if not measurements:  # the energy per inference may have the reason
        inference = number(record, group, "energy_j")
        return inference if inference.value is None else cell
    aside = next((f"batch {m.axes['batch']}" for m in measurements if m.value is not None and "batch" in m.axes), "")
    return replace(cell, aside=aside, comparable=False)


def run_note(record: RunRecord) -> str:
    """Return the note on the summary's energies: batch, other axes, covered part of the machine."""
    batch = run_batch(record)
    valued = [m for m in energies(record, "energy_run_j") if m.value is not None]
    if not valued:
        return ""
    first = next((m for m in valued if m.axes.get("batch") == batch), valued[0])
    axes = {key: value for key, value in first.axes.items() if key != "scope"}
    kind = "estimated" if first.evidence == "estimated" else "gross"
    return f"Energy / run: {kind} energy of one call{format_axes(axes, ' at ')}; {source_text(first)}."


def has_ratios(record: RunRecord) -> bool:
    """Return whether the energy of any student could be compared with its teacher's."""
    return any(pair.metric == "energy_ratio" and pair.value is not None for pair in record.pairs)


def ratio_note(record: RunRecord) -> str:
    """Return the note on the energy ratios; empty without any."""
    if not has_ratios(record):
        return ""
    first = next((m for m in energies(record, "energy_j") if m.value is not None), None)
    source = f"; {source_text(first)}" if first else ""
    kind = "estimated" if first and first.evidence == "estimated" else "gross"
    return f"Energy ratio: {kind} energy per inference at batch 1, from interleaved windows{source}."


def energy_ratio(record: RunRecord, group: ModelGroup) -> Number:
    """Return the ratio of energies per inference at batch 1, or, labelled, at the batch that the model's file fixes."""
    fixed = group.cards[0].fixed_batch
    cell = number(record, group, "energy_ratio", {"batch": fixed or 1})
    return cell if fixed in {None, 1} or cell.value is None else replace(cell, aside=f"batch {fixed}", comparable=False)


def _ratio(record: RunRecord, group: ModelGroup, axes: Axes) -> Cell:
    """Return the ratio at `axes`; a dash for a teacher, and for a scope without ratios."""
    if teacher_of(record, group) is None or axes.get("scope") not in _compared_scopes(record):
        return DASH
    return number(record, group, "energy_ratio", axes)


@once_per_record
def _compared_scopes(record: RunRecord) -> set[str | int | None]:
    return {pair.axes.get("scope") for pair in record.pair_index.having("energy_ratio")}


def _measured_axes(record: RunRecord) -> list[Axes]:
    """Return the axes at which some model has an energy: by scope, the headline's first, then by threads and batch."""
    measured = unique([m.axes for m in energies(record, *_METRICS) if m.value is not None])
    scopes = list(dict.fromkeys(axes.get("scope") for axes in measured))
    return sorted(measured, key=lambda a: (scopes.index(a.get("scope")), a.get("threads", 0), a.get("batch", 0)))


def _is_switched_off(measurement: Measurement) -> bool:
    return any(reason in (measurement.reason or "") for reason in _NOT_REQUESTED)


def _refusal_notes(record: RunRecord, valued: set[str]) -> Iterator[str]:
    """Yield the reasons why models have no energy at all, each once; nothing if energy was not requested."""
    groups = model_groups(record)
    labels_by_reason: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for group in groups:
        missing = sorted((m for id_ in group.ids for m in _energies_of(record, id_)), key=lambda m: "scope" in m.axes)
        reasons = tuple(dict.fromkeys((m.reason or "", m.hint or "") for m in missing if not _is_switched_off(m)))
        if reasons and valued.isdisjoint(group.ids):
            labels_by_reason.setdefault(reasons, []).append(group.label)
    for reasons, labels in labels_by_reason.items():
        models = "No energy was measured" if len(labels) == len(groups) else f"No energy of {listed(labels)}"
        yield " ".join(f"{sentence(f'{models}: {reason}')} {sentence(hint)}".rstrip() for reason, hint in reasons)

"""Energy per inference and per run: what was metered, and the summary's and ratios' part of it."""

from collections.abc import Iterator
from dataclasses import replace

from kdbench.report.axes import axes_columns, common_axes, format_axes, protocol_batch, unique_axes
from kdbench.report.cells import Cell, Number, sentence
from kdbench.report.model_groups import ModelGroup, model_groups, number, teacher_of
from kdbench.report.table import DASH, Field, Table, axes_table, column, metric_field
from kdbench.report.tables.metering import carbon_notes, energies, metering_notes, scope_of, source_text
from kdbench.results.records import Axes, RunRecord

_METRICS = ("energy_j", "energy_net_j", "energy_run_j")
_HEADS = {"energy_net_j": "Net / inference"}
_NOT_REQUESTED = "not asked for"  # the reason in records of runs without energy


def energy(record: RunRecord) -> Table:
    """Return gross and net energy of every model at every batch, for every scope that was metered.

    Models without energy have a note instead of rows of reasons; if no model has any, the table is those notes.
    """
    valued = [m for m in energies(record, *_METRICS) if m.value is not None]
    models = {m.model for m in valued}
    refusals = list(_refusal_notes(record, models))
    if not valued:
        return Table("Energy", (), (), tuple(refusals))
    measured = _measured_axes(record)
    columns = axes_columns(measured, always=("batch",), defaults={"scope": scope_of(valued[0])})
    estimated = all(m.evidence == "estimated" for m in valued)
    with_carbon = any(m.value is not None for m in energies(record, "co2_g"))
    metrics = [
        *(metric for metric in _METRICS if metric != "energy_net_j" or not estimated),
        *(["co2_g"] if with_carbon else []),
    ]
    shown = [m for m in energies(record, *_METRICS) if m.model in models]
    rows = [
        (axes, group)
        for axes in measured
        for group in model_groups(record)
        if any(m.axes == axes and m.model in group.ids for m in shown)
    ]
    fields = [
        *(metric_field(record, metric, head=_HEADS.get(metric, column(metric).head)) for metric in metrics),
        *([Field(column("energy_ratio"), lambda group, at: _ratio(record, group, at))] if has_ratios(record) else []),
    ]
    common = {key: value for key, value in common_axes(measured, columns).items() if key != "scope"}
    what = (
        "The estimate has no idle power: it covers the work of the models only"
        if estimated
        else "Gross energy is all energy drawn in a window, including idle power; net energy excludes the idle power, "
        "which is measured with the models loaded"
    )
    notes = [
        f"{what}. A run is one call with one batch{format_axes(common, '. All at ')}.",
        *metering_notes(record, measured),
        *(carbon_notes(record) if with_carbon else []),
        *refusals,
    ]
    return axes_table("Energy", rows, columns, fields, notes)


def run_batch(record: RunRecord) -> int:
    """Return the batch of the summary's energies: the protocol's largest, or the largest with a value."""
    requested = protocol_batch(record)
    valued = [m for m in energies(record, "energy_run_j") if m.value is not None]
    free = [m for m in valued if record.cards[m.model].fixed_batch is None]
    batches = {batch for m in free or valued if isinstance(batch := m.axes.get("batch"), int)}
    return requested if requested in batches or not batches else max(batches)


def energy_per_run(record: RunRecord, group: ModelGroup) -> Number:
    """Return the energy of one run at `run_batch`, or, labelled, at another batch that the model has it at."""
    metric, batch = "energy_run_j", run_batch(record)
    if any(record.find(id_, metric, batch=batch) for id_ in group.ids):
        return number(record, group, metric, {"batch": batch})
    cell = number(record, group, metric)
    measurements = [m for id_ in group.ids if (m := record.find(id_, metric))]
    if not measurements:  # the reason may be that of the energy per inference
        inference = number(record, group, "energy_j")
        return inference if inference.value is None else cell
    aside = next((f"batch {m.axes['batch']}" for m in measurements if m.value is not None and "batch" in m.axes), "")
    return replace(cell, aside=aside, comparable=False)


def run_notes(record: RunRecord) -> list[str]:
    """Return the note on the summary's energies: batch, other axes, covered part of the machine."""
    batch = run_batch(record)
    valued = [m for m in energies(record, "energy_run_j") if m.value is not None]
    if not valued:
        return []
    first = next((m for m in valued if m.axes.get("batch") == batch), valued[0])
    axes = {key: value for key, value in first.axes.items() if key != "scope"}
    kind = "estimated" if first.evidence == "estimated" else "gross"
    return [f"Energy / run: {kind} energy of one call{format_axes(axes, ' at ')}; {source_text(first)}."]


def has_ratios(record: RunRecord) -> bool:
    """Return whether the energy of any student could be compared with its teacher's."""
    return any(pair.metric == "energy_ratio" and pair.value is not None for pair in record.pairs)


def ratio_notes(record: RunRecord) -> list[str]:
    """Return the note on the energy ratios, if there are any."""
    if not has_ratios(record):
        return []
    first = next((m for m in energies(record, "energy_j") if m.value is not None), None)
    source = f"; {source_text(first)}" if first else ""
    kind = "estimated" if first and first.evidence == "estimated" else "gross"
    return [f"Energy ratio: {kind} energy per inference at batch 1, from interleaved windows{source}."]


def energy_ratio(record: RunRecord, group: ModelGroup) -> Number:
    """Return the ratio of energies per inference at batch 1, or, labelled, at the batch that the model's file fixes."""
    fixed = group.cards[0].fixed_batch
    cell = number(record, group, "energy_ratio", {"batch": fixed or 1})
    return cell if fixed in {None, 1} or cell.value is None else replace(cell, aside=f"batch {fixed}", comparable=False)


def _ratio(record: RunRecord, group: ModelGroup, axes: Axes) -> Cell:
    """Return the ratio at `axes`; a dash for a teacher, and for a scope without ratios."""
    scopes = {pair.axes.get("scope") for pair in record.pairs if pair.metric == "energy_ratio"}
    if teacher_of(record, group) is None or axes.get("scope") not in scopes:
        return DASH
    return number(record, group, "energy_ratio", axes)


def _measured_axes(record: RunRecord) -> list[Axes]:
    """Return the axes at which some model has an energy: by scope, the headline's first, then by threads and batch."""
    unique = unique_axes([m.axes for m in energies(record, *_METRICS) if m.value is not None])
    scopes = list(dict.fromkeys(axes.get("scope") for axes in unique))
    return sorted(
        unique, key=lambda axes: (scopes.index(axes.get("scope")), axes.get("threads", 0), axes.get("batch", 0))
    )


def _refusal_notes(record: RunRecord, valued: set[str]) -> Iterator[str]:
    """Yield why models have no energy at all, each reason once; nothing where energy was not requested."""
    groups = model_groups(record)
    labels_by_reason: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for group in groups:
        missing = [m for m in energies(record, *_METRICS) if m.model in group.ids]
        if missing and not valued & set(group.ids):
            reasons = [(m.reason or "", m.hint or "") for m in missing if _NOT_REQUESTED not in (m.reason or "")]
            labels_by_reason.setdefault(tuple(dict.fromkeys(reasons)), []).append(group.label)
    for whys, labels in labels_by_reason.items():
        names = ", ".join(f"`{label}`" for label in labels)
        models = "No energy was measured" if len(labels) == len(groups) else f"No energy of {names}"
        if whys:
            yield " ".join(f"{sentence(f'{models}: {reason}')} {sentence(hint)}".rstrip() for reason, hint in whys)

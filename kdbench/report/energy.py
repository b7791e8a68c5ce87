"""What inferences and runs take in energy, of which part of the machine, and how that was found."""

from collections.abc import Iterator
from dataclasses import replace

from kdbench.report.axes import in_words, protocol_batch, shared, swept
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished, sentence
from kdbench.report.columns import column
from kdbench.report.metering import by_whom, energies, notes_on_carbon, notes_on_metering, scope_of
from kdbench.report.subjects import ModelGroup, number, pair_number, subjects, teacher_of
from kdbench.results.records import Axes, RunRecord

_METRICS = ("energy_j", "energy_net_j", "energy_run_j")
_HEADS = {"energy_net_j": "Net / inference"}
_NOT_ASKED = "not asked for"
_NONE = Text("–")


def energy(record: RunRecord) -> Table:
    """Return gross and net energy of every model at every batch, and of every scope that was metered.

    Models without any have a note instead of rows of reasons; where that is all of them, the notes are all there is.
    """
    valued = [m for m in energies(record, *_METRICS) if m.value is not None]
    refusals = list(_refusals(record, {m.model for m in valued}))
    if not valued:
        return Table("Energy", (), (), tuple(refusals))
    taken = _taken(record)
    shown = swept(taken, always=("batch",), usual={"scope": scope_of(valued[0])})
    estimated = all(m.evidence == "estimated" for m in valued)
    metrics = [
        *(metric for metric in _METRICS if metric != "energy_net_j" or not estimated),
        *(["co2_g"] if any(m.value is not None for m in energies(record, "co2_g")) else []),
    ]
    compared = has_ratios(record)
    columns = [
        Column("Model", numeric=False),
        *(Column(head, numeric=head in {"Threads", "Batch"}) for head in shown),
        *(replace(column(metric), head=_HEADS.get(metric, column(metric).head)) for metric in metrics),
        *([column("energy_ratio")] if compared else []),
    ]
    told = [m for m in energies(record, *_METRICS) if m.model in {other.model for other in valued}]
    rows = [
        Row(
            (
                Text(subject.label, code=True),
                *(Text(write(axes)) for write in shown.values()),
                *(number(record, subject, metric, axes) for metric in metrics),
                *([_ratio(record, subject, axes)] if compared else []),
            ),
            group=None if subject.role == "teacher" else tuple(sorted(axes.items())),
        )
        for axes in taken
        for subject in subjects(record)
        if any(m.axes == axes and m.model in subject.ids for m in told)
    ]
    constant = {key: value for key, value in shared(taken, shown).items() if key != "scope"}
    what = (
        "An estimate knows no idle power: it is of the models' own work"
        if estimated
        else "Gross energy is all that was drawn in a window, idle or not; net is without the idle power, taken with "
        "the models loaded"
    )
    notes = [
        f"{what}. A run is one call, of one batch{in_words(constant, '. All at ')}.",
        *notes_on_metering(record, taken),
        *(notes_on_carbon(record) if "co2_g" in metrics else []),
        *refusals,
    ]
    return finished("Energy", columns, rows, notes)


def run_batch(record: RunRecord) -> int:
    """Return the batch of the summary's energies: the protocol's largest, or the largest there is if that has none."""
    asked = protocol_batch(record)
    valued = [m for m in energies(record, "energy_run_j") if m.value is not None]
    free = [m for m in valued if record.cards[m.model].fixed_batch is None]
    taken = {batch for m in free or valued if isinstance(batch := m.axes.get("batch"), int)}
    return asked if asked in taken or not taken else max(taken)


def energy_per_run(record: RunRecord, subject: ModelGroup) -> Number:
    """Return the energy of one run at `run_batch`, or at another batch, said so, if that is where the model has it."""
    metric, batch = "energy_run_j", run_batch(record)
    if any(record.find(id_, metric, batch=batch) for id_ in subject.ids):
        return number(record, subject, metric, {"batch": batch})
    cell = number(record, subject, metric)
    found = [m for id_ in subject.ids if (m := record.find(id_, metric))]
    if not found:  # why there is none may stand with the energy per inference
        inference = number(record, subject, "energy_j")
        return inference if inference.value is None else cell
    where = next((f"batch {m.axes['batch']}" for m in found if m.value is not None and "batch" in m.axes), "")
    return replace(cell, aside=where, comparable=False)


def notes_on_runs(record: RunRecord) -> list[str]:
    """Return of what the summary's energies are: of how large a run, at what, of which part of the machine."""
    batch = run_batch(record)
    valued = [m for m in energies(record, "energy_run_j") if m.value is not None]
    if not valued:
        return []
    first = next((m for m in valued if m.axes.get("batch") == batch), valued[0])
    where = {key: value for key, value in first.axes.items() if key != "scope"}
    rough = "an estimate" if first.evidence == "estimated" else "gross"
    return [f"Energy / run: {rough}, of one call{in_words(where, ' at ')}; {by_whom(first)}."]


def has_ratios(record: RunRecord) -> bool:
    """Return whether the energy of any student could be compared with its teacher's."""
    return any(pair.metric == "energy_ratio" and pair.value is not None for pair in record.pairs)


def notes_on_ratios(record: RunRecord) -> list[str]:
    """Return of what the energy ratios are; nothing where there are none."""
    if not has_ratios(record):
        return []
    first = next((m for m in energies(record, "energy_j") if m.value is not None), None)
    whose = f"; {by_whom(first)}" if first else ""
    rough = "estimated" if first and first.evidence == "estimated" else "gross"
    return [f"Energy ratio: of {rough} energy per inference at batch 1, from windows that took turns{whose}."]


def energy_ratio(record: RunRecord, subject: ModelGroup) -> Number:
    """Return the ratio of energies per inference at batch 1, or at the batch, said so, that the model's file fixes."""
    fixed = subject.cards[0].fixed_batch
    cell = pair_number(record, subject, "energy_ratio", {"batch": fixed or 1})
    return cell if fixed in {None, 1} or cell.value is None else replace(cell, aside=f"batch {fixed}", comparable=False)


def _ratio(record: RunRecord, subject: ModelGroup, axes: Axes) -> Cell:
    """Return the ratio at `axes`; a dash for a teacher, and for a scope that ratios were not taken of."""
    compared = any(
        pair.metric == "energy_ratio" and pair.axes.get("scope") == axes.get("scope") for pair in record.pairs
    )
    if teacher_of(record, subject) is None or not compared:
        return _NONE
    return pair_number(record, subject, "energy_ratio", axes)


def _taken(record: RunRecord) -> list[Axes]:
    """Return the axes at which some model has an energy: by scope, the headline's first, then by threads and batch."""
    found = [m.axes for m in energies(record, *_METRICS) if m.value is not None]
    unique = [axes for index, axes in enumerate(found) if axes not in found[:index]]
    scopes = list(dict.fromkeys(axes.get("scope") for axes in unique))
    return sorted(
        unique, key=lambda axes: (scopes.index(axes.get("scope")), axes.get("threads", 0), axes.get("batch", 0))
    )


def _refusals(record: RunRecord, valued: set[str]) -> Iterator[str]:
    """Yield why models have no energy at all, each reason once; nothing where energy was not asked for."""
    whys: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for subject in subjects(record):
        found = [m for m in energies(record, *_METRICS) if m.model in subject.ids]
        if found and not valued & set(subject.ids):
            reasons = dict.fromkeys((m.reason or "", m.hint or "") for m in found if _NOT_ASKED not in (m.reason or ""))
            whys.setdefault(tuple(reasons), []).append(subject.label)
    for why, labels in whys.items():
        names = ", ".join(f"`{label}`" for label in labels)
        whom = "No energy was measured" if len(labels) == len(subjects(record)) else f"No energy of {names}"
        if why:
            yield " ".join(f"{sentence(f'{whom}: {reason}')} {sentence(hint)}".rstrip() for reason, hint in why)

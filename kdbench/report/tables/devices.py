"""The measurements of devices compared with the host's: latencies, speed-ups, start-up, memory and energy."""

from collections.abc import Callable
from dataclasses import replace

from kdbench.report.axes import axes_columns, common_axes, configurations, format_axes, unique
from kdbench.report.cells import Cell, Number, Text, quotient
from kdbench.report.model_groups import ModelGroup, model_groups, teacher_of
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Column, Field, Row, Table, axes_table, column, finished, words
from kdbench.report.tables.sustained import sustained_load
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.devices import of_device, of_host
from kdbench.results.samples import FIRST, STEADY

HOST = "host"
_OTHER_METRICS = ("load_ns", "first_run_ns", "peak_memory_bytes", "energy_j")
_FACTS = ("Device", "Machine", "System", "Python", "onnxruntime", "Measured")
_PARITY = ("device_max_abs", "device_agreement", "device_top1")


def devices(record: RunRecord) -> Table:
    """Return the devices whose results the record holds, with their machine and software."""
    rows = []
    for device in record.devices:
        host, libraries = device.environment.host, device.environment.libraries
        runtime = libraries.get("onnxruntime") or libraries.get("onnxruntime-gpu") or "unknown"
        machine = str(host.get("board") or host.get("cpu") or host.get("machine") or "unknown")
        texts = (machine, str(host.get("os") or "unknown"), str(host.get("python") or "unknown"), runtime)
        measured = device.created if device.complete else f"{device.created} (interrupted)"
        rows.append(Row((Text(device.name, code=True), *map(Text, texts), Text(measured))))
    note = "Each device ran the files of the run, by the host's protocol, after a comparison of its outputs."
    return finished("Devices", words(*_FACTS), rows, [note])


def device_parity(record: RunRecord) -> Table:
    """Return how far the outputs of each device are from the host's."""
    rows, columns = [], [*words("Device", "Model"), *(column(metric) for metric in _PARITY)]
    for device in record.devices:
        view = of_device(record, device.name)
        for group in model_groups(view):
            cells = [number(view, group, metric) for metric in _PARITY]
            if any(cell.value is not None for cell in cells):
                rows.append(Row((Text(device.name, code=True), Text(group.label, code=True), *cells)))
    return finished("Outputs on devices", columns, rows)


def latency_by_device(record: RunRecord) -> Table:
    """Return the median latency of every model on the host and on each device, and its ratio to the host's."""
    views = _views(record)
    all_axes = unique([axes for view in views.values() for axes in configurations(view)])
    measured = [axes for axes in all_axes if axes.get("mode") not in {FIRST, STEADY}]  # these have a separate table
    columns = axes_columns(measured)
    rows = [(axes, group) for axes in measured for group in model_groups(record) if _is_measured(views, group, axes)]
    fields = [_machine_field(name, view, "latency_p50_ns") for name, view in views.items()]
    fields += [_over_host(name, view, views[HOST]) for name, view in views.items() if name != HOST]
    note = (
        "Median time of one call. NAME / host is the quotient of two medians from separate runs; its bounds are those "
        f"of the two intervals{format_axes(common_axes(measured, columns), '. All at ')}."
    )
    return axes_table("Latency on devices", rows, columns, fields, [note])


def speedup_by_device(record: RunRecord) -> Table:
    """Return each student's speed-up on the host and on each device."""
    views = _views(record)
    compared = [pair.axes for view in views.values() for pair in view.pair_index.having("latency_ratio")]
    measured = unique([axes for view in views.values() for axes in configurations(view) if axes in compared])
    columns = axes_columns(measured)
    students = [group for group in model_groups(record) if teacher_of(record, group) is not None]
    rows = [(axes, group) for axes in measured for group in students]
    fields = [_machine_field(name, view, "latency_ratio") for name, view in views.items()]
    common = format_axes(common_axes(measured, columns), ". All at ")
    note = f"Teacher time over student time, from adjacent blocks{common}."
    return axes_table("Speed-up on devices", rows, columns, fields, [note], name="Student")


def costs_by_device(record: RunRecord) -> Table:
    """Return start-up, memory and energy of every model on the host and on each device."""
    views = _views(record)
    rows = []
    for group in model_groups(record):
        for name, view in views.items():
            batch = {"batch": group.cards[0].fixed_batch or 1}
            cells: list[Cell] = [number(view, group, metric, batch) for metric in _OTHER_METRICS]
            if any(isinstance(cell, Number) and cell.value is not None for cell in cells):
                rows.append(Row((Text(group.label, code=True), Text(name, code=name != HOST), *cells)))
    columns = [*words("Model", "On"), *(replace(column(metric), higher_is_better=None) for metric in _OTHER_METRICS)]
    return finished("Start-up, memory and energy on devices", columns, rows)


DEVICE_TABLES: tuple[Callable[[RunRecord], Table], ...] = (
    devices,
    device_parity,
    latency_by_device,
    speedup_by_device,
    sustained_load,
    costs_by_device,
)


def device_tables(record: RunRecord) -> list[Table]:
    """Return the tables of devices with content; none for a record without devices."""
    return [table for build in DEVICE_TABLES if record.devices and (table := build(record)).shown]


def _views(record: RunRecord) -> dict[str, RunRecord]:
    return {HOST: of_host(record), **{device.name: of_device(record, device.name) for device in record.devices}}


def _is_measured(views: dict[str, RunRecord], group: ModelGroup, axes: Axes) -> bool:
    cells = (number(view, group, "latency_p50_ns", axes) for view in views.values())
    return any(cell.value is not None for cell in cells)


def _machine_field(name: str, view: RunRecord, metric: str) -> Field:
    """Return the column of one machine, whose numbers are ranked only against each other."""
    return Field(replace(column(metric), head=name), lambda group, axes: _exactly(view, group, metric, axes))


def _exactly(view: RunRecord, group: ModelGroup, metric: str, axes: Axes) -> Cell:
    """Return a number at exactly these axes; a dash if the machine has no result there."""
    results = view.pair_index if metric == "latency_ratio" else view.measurement_index
    exists = any(dict(result.axes) == dict(axes) for id_ in group.ids for result in results.of(id_, metric))
    return number(view, group, metric, axes) if exists else DASH


def _over_host(name: str, view: RunRecord, host: RunRecord) -> Field:
    def cell(group: ModelGroup, axes: Axes) -> Cell:
        on_device, on_host = (_exactly(machine, group, "latency_p50_ns", axes) for machine in (view, host))
        return quotient(on_device, on_host) or DASH

    return Field(Column(f"{name} / {HOST}"), cell)

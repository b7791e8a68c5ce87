"""Results from devices in a record: numbers with the axis `device`, and the views of a record from one machine.

A view is a record of one machine: tables, verdicts and comparisons, which expect that, take a view. Numbers of the
files, such as accuracies, are in every view; times, memory and energies are those of its machine.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.metrics import metric
from kdbench.results.records.measurement import Measurement, Pair
from kdbench.results.records.record import DeviceRun, RunRecord

AXIS = "device"

_Result = TypeVar("_Result", Measurement, Pair)


def of_host(record: RunRecord) -> RunRecord:
    """Return a record without what devices measured; the record itself if none did."""
    if not record.devices:
        return record
    if of_host not in record.derived:
        changes = {
            "measurements": tuple(m for m in record.measurements if AXIS not in m.axes),
            "pairs": tuple(pair for pair in record.pairs if AXIS not in pair.axes),
            "devices": (),
        }
        record.derived[of_host] = record.model_copy(update=changes)
    view: RunRecord = record.derived[of_host]
    return view


def of_device(record: RunRecord, name: str) -> RunRecord:
    """Return a record as if its times, memory and energies had been measured on the device called `name` alone."""
    key = (of_device, name)
    if key not in record.derived:
        device = device_called(record, name)
        changes = {
            "title": f"{record.title or record.name}, on {name}",
            "created": device.created,
            "protocol": device.protocol,
            "environment": device.environment,
            "measurements": tuple(_seen_from(record.measurements, name)),
            "pairs": tuple(_seen_from(record.pairs, name)),
            "warnings": device.warnings,
            "layers": (),
            "devices": (),
        }
        record.derived[key] = record.model_copy(update=changes)
    view: RunRecord = record.derived[key]
    return view


def device_called(record: RunRecord, name: str) -> DeviceRun:
    """Return the results of a device in a record; raises InputError for an unknown one."""
    for device in record.devices:
        if device.name == name:
            return device
    known = [device.name for device in record.devices]
    hint = suggestion(name, known) if known else "no device's results are merged into it: kdbench merge RUN result.zip"
    raise InputError(f"the record has no device {name!r}", hint)


def with_device(
    record: RunRecord, device: DeviceRun, measurements: Sequence[Measurement], pairs: Sequence[Pair]
) -> RunRecord:
    """Return a record with the results of one more device behind its own; they get the axis `device`."""

    def at(results: Iterable[_Result]) -> tuple[_Result, ...]:
        return tuple(one.model_copy(update={"axes": {**one.axes, AXIS: device.name}}) for one in results)

    changes = {
        "measurements": (*record.measurements, *at(measurements)),
        "pairs": (*record.pairs, *at(pairs)),
        "devices": (*record.devices, device),
    }
    return RunRecord.model_validate(record.model_copy(update=changes).model_dump(by_alias=True))


def without_device(record: RunRecord, name: str) -> RunRecord:
    """Return a record as it was before the results of a device were added; raises InputError for an unknown one."""
    device_called(record, name)
    changes = {
        "measurements": tuple(m for m in record.measurements if m.axes.get(AXIS) != name),
        "pairs": tuple(pair for pair in record.pairs if pair.axes.get(AXIS) != name),
        "devices": tuple(device for device in record.devices if device.name != name),
    }
    return record.model_copy(update=changes)


def _seen_from(results: Iterable[_Result], name: str) -> Iterable[_Result]:
    for one in results:
        if one.axes.get(AXIS) == name:
            yield one.model_copy(update={"axes": {key: value for key, value in one.axes.items() if key != AXIS}})
        elif AXIS not in one.axes and not metric(one.metric).hardware_dependent:
            yield one

"""Sustained load on devices: the first minute beside the steady state, with temperature and clock."""

from collections.abc import Callable

from kdbench import units
from kdbench.report.axes import configurations
from kdbench.report.cells import Text, quotient
from kdbench.report.model_groups import model_groups
from kdbench.report.numbers import number
from kdbench.report.table import DASH, Column, Row, Table, column, finished, words
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import of_device
from kdbench.results.records.sustained import Course, Slice, course_of
from kdbench.results.samples import FIRST, STEADY

_METRIC = "latency_p50_ns"
_NOTE = (
    "Median time of one call while the models are called in turn without a pause: in the first minute (at most a fifth "
    "of the time) and in the last third. The change is the quotient of the two; its bounds are those of the two "
    "intervals. Temperature and clock are those at the beginning and at the end."
)


def sustained_load(record: RunRecord) -> Table:
    """Return both phases of every device's sustained load."""
    rows = []
    for device in record.devices:
        view, course = of_device(record, device.name), course_of(device)
        for axes in (axes for axes in configurations(view) if axes.get("mode") == STEADY):
            lasted = Text("unknown" if course is None else units.duration(course.lasted_s))
            conditions = (Text(str(axes.get("threads", "unknown"))), lasted)
            for group in model_groups(view):
                first, last = (number(view, group, _METRIC, {**axes, "mode": mode}) for mode in (FIRST, STEADY))
                names = (Text(device.name, code=True), Text(group.label, code=True))
                change = quotient(last, first) or DASH
                rows.append(Row((*names, *conditions, first, last, change, *_facts(course))))
    times = [column(_METRIC, head=head, higher_is_better=None) for head in ("First minute", "Last third")]
    facts = [Column("Change"), *words("Temperature", "Clock")]
    columns = [*words("Device", "Model"), Column("Threads"), *words("Lasted"), *times, *facts]
    return finished("Sustained load on devices", columns, rows, [_NOTE])


def _facts(course: Course | None) -> tuple[Text, Text]:
    """Return temperature and clock at the beginning and at the end."""
    slices = () if course is None else course.slices
    return _from_to(slices, lambda part: part.temperature_c, "°C"), _from_to(slices, lambda part: part.clock_mhz, "MHz")


def _from_to(slices: tuple[Slice, ...], fact_of: Callable[[Slice], float | None], unit: str) -> Text:
    known = [value for part in slices if (value := fact_of(part)) is not None]
    return Text(f"{known[0]:,.0f} → {known[-1]:,.0f} {unit}") if known else DASH

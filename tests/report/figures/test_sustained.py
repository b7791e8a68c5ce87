"""Sustained load on devices: the table of both phases, and the figure of the whole time."""

import pytest
from report.figures.svg_words import words

from kdbench.report.figures import draw
from kdbench.report.figures.sustained import sustained_load
from kdbench.report.tables.devices import latency_by_device
from kdbench.report.tables.sustained import sustained_load as table_of
from kdbench.results.records import DeviceRun, Environment, Interval, measured
from kdbench.results.records.devices import with_device

PHASES = {"first-minute": 1e6, "sustained": 1.5e6}
SLICES = [
    {"from_s": 30.0 * n, "p50_ns": {"student-kd": 1e6}, "temperature_c": 50.0 + n, "clock_mhz": 2400 - 10.0 * n}
    for n in range(60)
]
HALF_AN_HOUR = {"asked_s": 1800.0, "lasted_s": 1800.0, "slices": SLICES}


def with_load(record, *names, course=HALF_AN_HOUR):
    """Return the record with devices whose calls take 1.5 times as long at the end of half an hour."""
    for name in names:
        protocol = {
            "sustained": {"asked_s": 1800.0, "lasted_s": 1800.0, "slices": SLICES} if course is None else course
        }
        host = Environment(host={"machine": "aarch64"}, libraries={})
        facts = {"target": "t", "created": "2026-11-28", "bundle": "0" * 64, "result": "1" * 64, "complete": True}
        device = DeviceRun(name=name, environment=host, protocol=protocol, **facts)
        axes = {"provider": "cpu", "threads": 4, "batch": 1}
        measurements = [
            measured(
                "student-kd",
                "latency_p50_ns",
                value,
                axes={**axes, "mode": mode},
                interval=Interval(low=0.9 * value, high=1.1 * value),
            )
            for mode, value in PHASES.items()
        ]
        measurements.append(measured("student-kd", "latency_p50_ns", 0.9e6, axes=axes))
        record = with_device(record, device, measurements, ())
    return record


def test_both_phases_stand_side_by_side(sample):
    record = with_load(sample, "pi")
    table = table_of(record)
    row = next(row for row in table.rows if row.cells[1].text == "student-kd")
    named = dict(zip((column.head for column in table.columns), row.cells, strict=True))
    assert named["Change"].value == pytest.approx(1.5)
    assert named["Change"].interval.low == pytest.approx(1.5 * 0.9 / 1.1)
    measurements = {head: cell.text for head, cell in named.items()}
    assert (measurements["Threads"], measurements["Lasted"]) == ("4", "30 min 00 s")
    assert (measurements["Temperature"], measurements["Clock"]) == ("50 → 109 °C", "2,400 → 1,810 MHz")
    shown = [cell.text for row in latency_by_device(record).rows for cell in row.cells]
    assert not any("sustained" in text for text in shown)  # once is enough


def test_a_record_without_sustained_load_shows_none(sample):
    assert not table_of(sample).shown
    assert sustained_load(sample) is None


@pytest.mark.parametrize("course", [{}, "half an hour", {"asked_s": 1, "lasted_s": 1, "slices": [3]}, [1]])
def test_what_is_no_course_is_not_drawn(sample, course):
    record = with_load(sample, "pi", course=course)
    assert sustained_load(record) is None
    assert table_of(record).rows[0].cells[3].text == "unknown"


def test_time_temperature_and_clock_are_drawn_for_each_device(sample):
    record = with_load(sample, "pi", "jetson")
    drawing = sustained_load(record)
    assert {"pi", "jetson", "minutes", "temperature (°C)", "clock (MHz)", "student-kd"} <= words(drawing.svg)
    assert "teacher" not in words(drawing.svg)  # it was not called there
    assert [one.name for one in draw(record) if one.name == "sustained_load"] == ["sustained_load"]


def test_a_device_without_sensors_has_times_alone(sample):
    bare = [{"from_s": float(n), "p50_ns": {"student-kd": 1e6}} for n in range(9)]
    drawing = sustained_load(with_load(sample, "pi", course={"asked_s": 9.0, "lasted_s": 9.0, "slices": bare}))
    assert "seconds" in words(drawing.svg)
    assert "temperature (°C)" not in words(drawing.svg)


def test_of_many_devices_the_first_are_drawn_and_the_caption_says_so(sample):
    drawing = sustained_load(with_load(sample, "a1", "a2", "a3", "a4"))
    assert "3 of 4 devices" in drawing.caption
    assert "a4" not in words(drawing.svg)

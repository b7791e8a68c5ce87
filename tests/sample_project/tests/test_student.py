"""Gates on the student: `pytest` calls the models once, `pytest --benchmark` measures them and judges the bounds.

Paths are relative to this file's folder, or else to the root folder of the project.
"""

import pytest

DATA = "npz:data/test.npz"


@pytest.fixture
def student(kdbench):
    """The model under test; it is measured once per session, however many tests use it."""
    return kdbench.model("models/student.onnx", data=DATA)


def test_accuracy(student):
    # The whole interval must lie above the limit: a lucky test set is no pass.
    student.top1.at_least("90 %")


def test_latency(student):
    # Limits are numbers in the metric's unit, here nanoseconds, or text with a unit.
    student.latency_p50_ns.at_most("5 ms")
    student.metric("latency_p95_ns", batch=1).at_most("10 ms")


def test_footprint(student):
    student.size_bytes.at_most("200 kB")
    student.macs.at_most("1 M")


def test_faster_than_the_teacher(kdbench):
    # Called in turn in the same processes: this holds on a noisy machine, and on another one.
    kdbench.ratio(teacher="models/teacher.onnx", student="models/student.onnx").at_least(2)


def test_as_good_as_the_teacher(kdbench):
    drop = kdbench.ratio(teacher="models/teacher.onnx", student="models/student.onnx", data=DATA, metric="top1_drop")
    drop.at_most("2 points")


def test_units_still_work():
    assert 1 + 1 == 2  # no benchmark: `pytest --benchmark` leaves it out

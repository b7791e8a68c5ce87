import threading

import pytest

from kdbench.meters.meter import MeterError, PolledMeter

S = 1_000_000_000


class FakeMeter(PolledMeter):
    """A meter that takes `answer_ns` of its clock's time to answer with the next of `readings`."""

    name = "meter"

    def __init__(self, readings, *, poll_s=1.0, answer_ns=0, background=False):
        super().__init__(lambda: self.now, background=background)
        self.now, self.poll_s = 0, poll_s
        self._readings, self._answer_ns = iter(readings), answer_ns
        self.ended = threading.Event()

    def watts(self):
        self.now += self._answer_ns
        reading = next(self._readings, None)
        if reading is None:
            self.ended.set()
            raise MeterError("meter: gone")
        return reading


def test_the_energy_is_that_below_a_line_through_the_readings():
    meter = FakeMeter([10.0, 20.0, 0.0])
    assert meter.read() == (0, 0.0)
    meter.now = 2 * S
    assert meter.read() == (2 * S, 30.0)
    meter.now = 3 * S
    assert meter.read() == (3 * S, 40.0)


def test_no_reading_is_taken_before_it_is_due():
    meter = FakeMeter([10.0, 20.0])
    meter.read()
    meter.now = S // 2
    assert meter.read() == (0, 0.0)


def test_a_reading_is_of_the_middle_of_the_time_it_took():
    meter = FakeMeter([10.0, 10.0], answer_ns=S // 10)
    assert meter.read()[0] == S // 20
    meter.now = 2 * S
    assert meter.read() == (2 * S + S // 20, pytest.approx(20.0))


def test_a_meter_that_fails_in_the_background_fails_whoever_reads_it():
    released = threading.Event()

    def readings():
        yield 10.0
        released.wait(10)  # a fast thread must not fail before the first reading is back

    meter = FakeMeter(readings(), poll_s=0.001, background=True)
    meter.read()
    released.set()
    assert meter.ended.wait(10)
    meter._thread.join(10)  # it leaves its word, and ends
    with pytest.raises(MeterError, match="gone"):
        meter.read()
    meter.close()
    assert "kdbench-power" not in {thread.name for thread in threading.enumerate()}


def test_one_that_was_closed_starts_anew():
    meter = FakeMeter([10.0, 10.0, 10.0])
    meter.read()
    meter.now = S
    assert meter.read() == (S, 10.0)
    meter.close()
    assert meter.read() == (S, 0.0)

"""A device's sustained load, as a record holds it: how times, temperature and clock went."""

from pydantic import ValidationError

from kdbench.results.records.record import DeviceRun
from kdbench.user_input.validation import Value


class Slice(Value):
    """A part of the time, from `from_s` on: the median of each model's calls, by id."""

    from_s: float
    p50_ns: dict[str, float]
    temperature_c: float | None = None
    clock_mhz: float | None = None


class Course(Value):
    """A sustained load in slices of equal time; `asked_s` is how long it was to last."""

    asked_s: float
    lasted_s: float
    slices: tuple[Slice, ...]


def course_of(device: DeviceRun) -> Course | None:
    """Return a device's sustained load; None without one."""
    try:
        return Course.model_validate(device.protocol.get("sustained"))
    except ValidationError:  # a record may say anything in its protocol
        return None

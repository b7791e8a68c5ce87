"""What a device's result has of each step but the sessions: parity, kernels, start-up, memory, energy."""

from typing import Annotated, Literal

from pydantic import Field

from kdbench.edge.results.bounds import Bytes, Core, Count, Positive, Seconds, Text, Time
from kdbench.results.values import Id
from kdbench.user_input.validation import Value


class Outcome(Value):
    """Whether a model's outputs are the host's (`device.parity.Parity`)."""

    max_abs: Annotated[float, Field(ge=0, le=1e300)]
    changed: Count
    samples: Count
    failed: Text


class Node(Value):
    """A node that ran, with its mean time."""

    name: Text
    operator: Text
    time_ns: Time


class Kernels(Value):
    """The nodes of each model; `failed` says why there are none."""

    nodes: dict[Id, tuple[Node, ...]]
    failed: dict[Id, Text]


class Latency(Value):
    """The sessions as a whole: their time, their cores, and why there are none."""

    seconds: Seconds
    cores: tuple[Core, ...] | None
    failed: Text


class Start(Value):
    """A fresh process (`worker.probes.coldstart`)."""

    import_ns: Positive
    load_ns: Positive
    first_run_ns: Positive
    steady_run_ns: Positive
    errors: dict[Id, Text] = Field(max_length=0)


class ColdStart(Value):
    """The processes of each model."""

    results: dict[Id, tuple[Start, ...]]
    failed: dict[Id, Text]


class Memory(Value):
    """A process that loads one model (`worker.probes.memory`)."""

    baseline_bytes: Annotated[int, Field(gt=0, le=1 << 50)]
    peak_bytes: Annotated[int, Field(gt=0, le=1 << 50)]
    since: Literal["counting began", "it started"]
    errors: dict[Id, Text] = Field(max_length=0)
    device_bytes: Bytes | None
    device_source: Text | None
    device_error: Text | None


class MemoryRun(Value):
    """The processes of one model at one batch."""

    model: Id
    batch: Annotated[int, Field(ge=1, le=1_000_000)]
    results: tuple[Memory, ...]
    failed: Text


class Window(Value):
    """A window of energy: its calls, and joules and ns of each source."""

    calls: Annotated[int, Field(ge=1, le=10**12)]
    spans: tuple[tuple[Annotated[float, Field(gt=0, le=1e12)], Annotated[int, Field(gt=0, le=10**15)]], ...]


class Windows(Value):
    """The windows of a metering process (`worker.probes.energy`)."""

    sources: tuple[Text, ...]
    period_ns: tuple[Positive, ...]
    length_ns: Positive
    idle: tuple[Window, ...]
    windows: tuple[tuple[Window, ...], ...]
    dropped: dict[Text, Text]
    errors: dict[Id, Text]
    fault: None


class Fault(Value):
    """A metering process whose leading source failed."""

    fault: Text
    errors: dict[Id, Text]


class Meter(Value):
    """A source that was read (`measure.energy.windows.Source`)."""

    name: Text
    scope: Text
    detail: Text
    evidence: Literal["measured"]


class Metered(Value):
    """The energy of all models."""

    result: Windows | Fault | None
    failed: dict[Id, Text]
    sources: tuple[Meter, ...] = Field(min_length=1)
    uncounted: tuple[Text, ...]


class NoMeter(Value):
    """Why there is no meter, and what to do about it."""

    reason: Text
    hint: Text


class Unmetered(Value):
    """A device without a meter."""

    unavailable: NoMeter


class Sustained(Value):
    """Sustained load: how long it was asked for, and of which models (`ids`, in the order of their turns)."""

    seconds: Annotated[float, Field(gt=0, le=1e7)]
    threads: Annotated[int, Field(ge=1, le=4096)]
    ids: tuple[Id, ...]
    failed: Text
    complete: bool


Block = tuple[
    Seconds, Annotated[int, Field(ge=0, le=10_000)], Annotated[int, Field(ge=1, le=1_000_000)],
    Positive, Positive, Positive, Annotated[float, Field(ge=-60, le=200)] | None, Count | None,
]  # fmt: skip
"""A block of sustained calls: a line of `worker.probes.sustain`."""


class Steps(Value):
    """The steps that were completed."""

    parity: dict[Id, Outcome] | None = None
    kernels: Kernels | None = None
    latency: Latency | None = None
    cold_start: ColdStart | None = None
    memory: tuple[MemoryRun, ...] | None = None
    energy: Metered | Unmetered | None = None
    sustained: Sustained | None = None

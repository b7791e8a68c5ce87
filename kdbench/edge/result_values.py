"""The content of a device's result.json, as values that are checked when they are read: types, ranges, finiteness."""

from typing import Annotated, Literal

from pydantic import Field

from kdbench.results.values import Id
from kdbench.validation import Value

Text = Annotated[str, Field(max_length=2_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Time = Annotated[float, Field(ge=0, le=1e15)]  # ns: eleven days
Positive = Annotated[float, Field(gt=0, le=1e15)]
Seconds = Annotated[float, Field(ge=0, le=1e7)]
Cores = Annotated[int, Field(ge=1, le=100_000)]
Core = Annotated[int, Field(ge=0, le=99_999)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class State(Value):
    """The device's state before the measurement (`device.preflight.state`)."""

    temperature_c: Annotated[float, Field(ge=-60, le=200)] | None
    clock_khz: Count | None
    board_flags: Annotated[float, Field(ge=0, le=1 << 32)] | None
    cooling: Annotated[float, Field(ge=0, le=1e6)] | None
    available_bytes: Bytes | None
    features: tuple[Text, ...]


class Warned(Value):
    """A warning of the preflight."""

    code: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    message: Text
    remedy: Text


class Host(Value):
    """The facts about the device (`machine.host.host_facts`)."""

    board: Text | None
    cpu: Text | None
    machine: Text
    cores_physical: Cores | None
    cores_logical: Cores | None
    cores_usable: Cores
    cpu_quota_cores: Annotated[float, Field(gt=0, le=1e5)] | None
    memory_bytes: Bytes | None
    os: Text
    kernel: Text
    python: Text
    governor: Text | None
    turbo: Literal["on", "off"] | None
    clock_limit_share: Annotated[float, Field(gt=0, le=1)] | None
    smt: Literal["on", "off"] | None
    virtualization: Text | None
    container: Text | None
    cores_busy: Annotated[float, Field(ge=0, le=1e5)] | None
    gpu: Text | None
    gpu_driver: Text | None = None
    gpu_cuda: Text | None = None


class Facts(Value):
    """The device, its libraries and its state."""

    host: Host
    libraries: dict[Text, Text]
    versions: dict[Text, Text]
    state: State
    warnings: tuple[Warned, ...]
    clock_step_ns: Positive


class Chosen(Value):
    """The settings that it measured with (`device.plan.Settings`)."""

    threads: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=1)
    batch: tuple[Annotated[int, Field(gt=1, le=1_000_000)], ...]
    budget_s: Annotated[float, Field(gt=0, le=1e7)]
    precision: Annotated[float, Field(gt=0, lt=1)]
    sessions: Annotated[int, Field(ge=2, le=10_000)]
    energy: Literal["off", "quick", "full"]
    provider: Literal["cpu", "cuda"]
    mode: tuple[Literal["stream"]]
    gap_ms: int
    rate_per_s: None
    runtime: tuple[Literal["onnxruntime"]]
    cores: tuple[Core, ...] | None


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


class Configuration(Value):
    """One configuration of a session (`worker.probes.latency`)."""

    number: Count
    seconds: Seconds
    errors: dict[Id, Text]
    warm_up_calls: dict[Id, Count]
    call_ns: dict[Id, Positive]
    together: dict[Id, Count] = Field(default_factory=dict)


class SessionResult(Value):
    """What a session's process returned."""

    floor_ns: Positive | None
    configurations: tuple[Configuration, ...]


class Session(Value):
    """A session (`measure.latency.sessions.Session`)."""

    number: Count
    runtime: Literal["onnxruntime"]
    result: SessionResult | None
    samples: None
    lost: dict[Id, Text]
    seconds: Seconds


class Throttling(Value):
    """A gauge's message about a session."""

    message: Text
    remedy: Text


class Meanwhile(Value):
    """The machine during a session (`machine.system_monitor.Conditions`)."""

    seconds: Annotated[float, Field(gt=0, le=1e7)]
    cores: Count | None
    others_cores: Time | None
    others_chosen_cores: Time | None
    siblings_cores: Time | None
    stolen_share: Annotated[float, Field(ge=0, le=1)] | None
    swapped_in_pages: int | None
    throttling: tuple[Throttling, ...]


class KeptSession(Value):
    """A session and its conditions; their samples are a file of their own."""

    number: Count
    session: Session
    conditions: tuple[Meanwhile, ...]


class ResultContent(Value):
    """The whole of result.json."""

    kind: Literal["kdbench result"]
    schema_version: Literal[1] = Field(alias="schema")
    bundle: Sha256
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    complete: bool
    device: Facts
    settings: Chosen
    steps: Steps
    sessions: tuple[KeptSession, ...] = Field(max_length=10_000)
    blocks: tuple[Block, ...] = Field(max_length=1_000_000)

"""The content of a device's result.json, as values that are checked when they are read: types, ranges, finiteness."""

from typing import Annotated, Literal

from pydantic import Field

from kdbench.edge.results.bounds import Bytes, Core, Cores, Count, Positive, Seconds, Sha256, Text, Time
from kdbench.edge.results.step_values import Block, Steps
from kdbench.results.values import Id
from kdbench.user_input.validation import Value


class State(Value):
    """The device's state before the measurement (`device.preflight.state`)."""

    temperature_c: Annotated[float, Field(ge=-60, le=200)] | None
    clock_khz: Count | None
    board_flags: Annotated[float, Field(ge=0, le=1 << 32)] | None
    cooling: Annotated[float, Field(ge=0, le=1e6)] | None
    available_bytes: Bytes | None
    features: tuple[Text, ...]


class PreflightWarning(Value):
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
    warnings: tuple[PreflightWarning, ...]
    clock_step_ns: Positive


class ChosenSettings(Value):
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


class SessionConditions(Value):
    """The machine during a session (`machine.system_monitor.Conditions`)."""

    seconds: Annotated[float, Field(gt=0, le=1e7)]
    cores: Count | None
    others_cores: Time | None
    others_chosen_cores: Time | None
    siblings_cores: Time | None
    stolen_share: Annotated[float, Field(ge=0, le=1)] | None
    swapped_in_pages: Count | None
    throttling: tuple[Throttling, ...]


class StoredSession(Value):
    """A session and its conditions; their samples are a file of their own."""

    number: Count
    session: Session
    conditions: tuple[SessionConditions, ...]


class ResultContent(Value):
    """The whole of result.json."""

    kind: Literal["kdbench result"]
    schema_version: int = Field(alias="schema", ge=1, le=1)  # a Literal[1] takes true, too
    bundle: Sha256
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    complete: bool
    device: Facts
    settings: ChosenSettings
    steps: Steps
    sessions: tuple[StoredSession, ...] = Field(max_length=10_000)
    blocks: tuple[Block, ...] = Field(max_length=1_000_000)

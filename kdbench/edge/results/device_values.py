"""The device's properties in its result, and the settings that it measured with."""

from typing import Annotated, Literal

from pydantic import Field

from kdbench.edge.results.bounds import Bytes, Core, Cores, Count, Positive, Text
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

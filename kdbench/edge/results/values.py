"""The content of a device's result.json, as values that are checked when they are read: types, ranges, finiteness."""

from typing import Annotated, Literal

from pydantic import Field

from kdbench.edge.results.bounds import Count, Positive, Seconds, Sha256, Text, Time
from kdbench.edge.results.device_values import ChosenSettings, Facts
from kdbench.edge.results.step_values import Block, Steps
from kdbench.results.values import Id
from kdbench.user_input.validation import Value


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

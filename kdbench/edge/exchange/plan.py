"""The measurement that a bundle requests from a device: the content of its manifest.json. Standard library only.

Types are written so that Python 3.9 can evaluate them at run time: `worker.decoding.decode` reads them.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from kdbench.errors import InputError
from kdbench.worker.decoding import decode
from kdbench.worker.jobs import JobModel

SCHEMA = 1
MANIFEST = "manifest.json"
ALL_CORES = 0
"""In `Settings.threads`: as many threads as the device has physical cores."""
ANY_DEVIATION = 1e9
"""In `Tolerance.max_abs`: the outputs name classes, so only changed answers count."""


@dataclass(frozen=True)
class Settings:
    """How a device measures: the part of `kdbench.recipe.Measure` that applies there.

    The sessions of all models take turns on `cores` (None: those of one kind).
    """

    threads: tuple[int, ...]
    batch: tuple[int, ...]
    budget_s: float
    precision: float
    sessions: int
    energy: str
    provider: str = "cpu"
    mode: tuple[str, ...] = ("stream",)
    gap_ms: int = 5
    rate_per_s: Optional[int] = None
    runtime: tuple[str, ...] = ("onnxruntime",)
    cores: Optional[tuple[int, ...]] = None

    def on(self, cores: int) -> "Settings":
        """Return the settings for a device with so many physical cores, none of which has two threads."""
        threads = (min(count, cores) if count else cores for count in self.threads)
        return replace(self, threads=tuple(dict.fromkeys(threads)))


@dataclass(frozen=True)
class Tolerance:
    """How far a device's outputs may be from the host's: `max_abs`, in the outputs' unit; `why` says where it is from.

    `kind` is the arithmetic: `float32`, `float16`, `weights` (only these are quantized) or `int8`; `step` is the
    output's quantization step, of INT8 alone.
    """

    kind: str
    max_abs: float
    why: str
    step: Optional[float] = None


@dataclass(frozen=True)
class BundledModel:
    """A model in a bundle; paths are within it. `outputs` is the file of the host's (N, values), at batch `batch`.

    `sha256` is of the file in the bundle, `source_sha256` of the run's, where that was lowered for the device.
    `memory_bytes` is about what a process needs to run it.
    """

    id: str
    name: str
    sha256: str
    source_sha256: str
    job: JobModel
    outputs: str
    batch: int
    tolerance: Tolerance
    memory_bytes: int
    teacher: Optional[str] = None
    lowered: str = ""
    behind: Optional[str] = None

    @property
    def fixed_batch(self) -> Optional[int]:
        """The only batch that the file takes."""
        return self.job.fixed_batch

    def refusal_in(self, runtime: Optional[str]) -> Optional[Any]:  # noqa: ARG002 - as `TimedModel` has it
        """Return None: what cannot run is no part of a bundle."""
        return None


@dataclass(frozen=True)
class Plan:
    """The whole request to a device. `record` is the hash of the run's record, `target` the name of its target.

    `folder` is the run's on the host, as its user named it (empty in bundles of earlier versions). `null` is a model
    that computes nothing; `files` maps the files of the bundle to their SHA-256.
    """

    schema: int
    kdbench: str
    created: str
    run: str
    record: str
    target: str
    settings: Settings
    models: tuple[BundledModel, ...]
    samples: int
    null: JobModel
    cold_start_processes: int
    memory_processes: int
    memory_calls: int
    files: dict[str, str]
    folder: str = ""

    def within(self, folder: Path) -> "Plan":
        """Return the plan with absolute paths, for the bundle in `folder`."""

        def placed(job: JobModel) -> JobModel:
            images = str(folder / job.images) if job.images else ""
            return replace(job, path=str(folder / job.path), images=images)

        models = tuple(replace(m, job=placed(m.job), outputs=str(folder / m.outputs)) for m in self.models)
        return replace(self, models=models, null=placed(self.null))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)


def plan_of(text: str, where: str) -> Plan:
    """Return the plan that a manifest holds; raises InputError, which calls it `where`."""
    try:
        content = json.loads(text)
        schema = content.get("schema") if isinstance(content, dict) else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not a readable manifest: {error}", "copy the bundle again") from error
    if schema != SCHEMA:
        hint = "make the bundle again with the kdbench that reads its result"
        raise InputError(f"{where} has schema {schema!r}; this kdbench reads {SCHEMA}", hint)
    try:
        plan: Plan = decode(Plan, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{where} is not a manifest: {type(error).__name__}: {error}"
        raise InputError(message, "copy the bundle again") from error
    return plan

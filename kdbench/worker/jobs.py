"""The jobs of measuring processes, one class per probe: plain values that are passed as JSON. Standard library only.

The last field of every class is `cores`: the cores that the process may use, in order of preference (None: all). Types
are written so that Python 3.9, which devices may run, can evaluate them.
"""

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Optional, cast

from kdbench.worker.decoding import decode

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
GRAPH_OPTIMIZATION = "ORT_ENABLE_ALL"  # onnxruntime's name of the level


@dataclass(frozen=True)
class Network:
    """How to build the network that a file was exported from.

    `builder`, `package.module:function`, is called with `arguments` and `options` and returns a torch module whose
    forward maps (B, C, H, W) to logits; `weights` is the .safetensors file of its weights, if it has any.
    """

    builder: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Optional[str] = None


@dataclass(frozen=True)
class JobModel:
    """A model as a measuring process gets it: its file, its inputs and their preprocessing.

    `shape` is that of one sample, in the model's `layout`. `images` is the .npy file of its inputs: images (N, C, H, W)
    in RGB, uint8 or float32. Their channels are reordered to `channel_order`; then a pixel becomes
    `(pixel / scale - mean) / std`, per channel. For an integer `dtype`, the result is quantized with the scale and zero
    point `quantization`; without `quantization` the pixels stay as they are.

    In layout "array", `images` holds inputs that are not images. These are token ids int64, or float32 (N, …), such as
    rows of a table, with a `mean` and `std` for each index of axis `channel_axis`.

    `form` is the content of the output (`kdbench.modelfile.graphs.outputs.Form`); `output_scale` is the scale and zero
    point of its integers. `network` is for runtimes that do not run the file, and `files` are the file in other
    formats, by the suffix of their names.
    """

    id: str
    path: str
    input: str
    output: str
    dtype: str
    layout: str
    shape: tuple[int, ...]
    fixed_batch: Optional[int]
    images: str = ""
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    network: Optional[Network] = None
    channel_order: str = "RGB"
    quantization: Optional[tuple[float, int]] = None
    form: str = "logits"
    output_scale: Optional[tuple[float, int]] = None
    channel_axis: int = 1
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def preparation(self) -> tuple[object, ...]:
        """The settings that the prepared inputs depend on: models with equal settings share them."""
        feed = (self.scale, self.mean, self.std, self.channel_order, self.quantization, self.channel_axis)
        return (self.images, self.dtype, self.layout, self.shape, *feed)


JOBS: dict[str, type["Job"]] = {}

Cores = Optional[tuple[int, ...]]


@dataclass(frozen=True)
class Job:
    """The base of all jobs."""

    probe: ClassVar[str]
    provider: str
    threads: int

    def __init_subclass__(cls, probe: Optional[str] = None) -> None:
        if probe is not None:
            cls.probe = probe
            JOBS[probe] = cls

    @property
    def called_models(self) -> tuple[JobModel, ...]:
        """The models that the process loads and calls."""
        return ()

    @property
    def allowed_cores(self) -> Cores:
        """The cores that the process may use."""
        return cast("Cores", getattr(self, "cores"))  # noqa: B009 - of every subclass, behind its own fields

    def on_cores(self, cores: Cores) -> "Job":
        """Return the same job for a process that may use `cores`."""
        return replace(cast("Any", self), cores=cores)  # type: ignore[no-any-return]

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values, its `probe` included."""
        return {"probe": self.probe, **asdict(self)}


@dataclass(frozen=True)
class OneModelJob(Job):
    """The base of jobs with one model."""

    model: JobModel

    @property
    def called_models(self) -> tuple[JobModel, ...]:
        """The model."""
        return (self.model,)


@dataclass(frozen=True)
class ModelsJob(Job):
    """The base of jobs with several models, which can be done without some of them."""

    models: tuple[JobModel, ...]

    @property
    def called_models(self) -> tuple[JobModel, ...]:
        """The models that the process loads and calls."""
        return self.models

    def without(self, failed: Container[str]) -> Optional["ModelsJob"]:
        """Return the rest of the job without the models, by id, that `failed`; None if nothing is left to do."""
        left = tuple(model for model in self.models if model.id not in failed)
        return replace(self, models=left) if left else None


@dataclass(frozen=True)
class BatchesJob(ModelsJob, probe="batches"):
    """Call each of `models` at each of `batches` with the same `samples`, and compare the outputs."""

    batches: tuple[int, ...]
    samples: int
    cores: Cores = None


@dataclass(frozen=True)
class LogitsJob(ModelsJob, probe="logits"):
    """Write the logits (N, classes) of each of `models` to its .npy in `files`.

    `batches` are the batches at which to call the models, None for any.
    """

    files: tuple[str, ...]
    batches: tuple[Optional[int], ...] = ()
    runtime: str = "onnxruntime"
    cores: Cores = None

    def without(self, failed: Container[str]) -> Optional["LogitsJob"]:
        """Return the rest of the job: the models that have not `failed`, and whose file is not written yet."""
        rows = zip(self.models, self.files, self.batches or (None,) * len(self.models))
        left = [row for row in rows if row[0].id not in failed and not Path(row[1]).exists()]
        if not left:
            return None
        models, files, batches = zip(*left)
        return replace(self, models=models, files=files, batches=batches)


@dataclass(frozen=True)
class AdmissionJob(LogitsJob, probe="admission"):
    """Load and call each of `models` in `runtime` image by image, and write its outputs like a LogitsJob."""


@dataclass(frozen=True)
class ColdStartJob(OneModelJob, probe="coldstart"):
    """Time the steps from the start of a process until `model` runs at full speed."""

    cores: Cores = None


@dataclass(frozen=True)
class MemoryJob(OneModelJob, probe="memory"):
    """Load `model` and call it `calls` times at `batch`; `null` is a model without computation."""

    batch: int
    calls: int
    null: JobModel
    cores: Cores = None


@dataclass(frozen=True)
class ProfileJob(OneModelJob, probe="profile"):
    """Profile `model` at `batch`; onnxruntime writes the graph that it runs to the file `optimised`."""

    batch: int
    optimised: str
    cores: Cores = None


@dataclass(frozen=True)
class TimedConfiguration:
    """One way of calling some of a job's models, by their positions `models`, for about `budget_s`."""

    threads: int
    batch: int
    models: tuple[int, ...]
    number: int = 0
    budget_s: float = 0.0
    mode: str = "stream"
    gap_ms: int = 0
    rate_per_s: int = 0


@dataclass(frozen=True)
class LatencyJob(ModelsJob, probe="latency"):
    """One session: time every configuration in `runtime`, and write the samples to the .npz `samples`.

    `threads` is the largest number in any configuration. `floor` is a model without computation, or None.
    """

    runtime: str
    configurations: tuple[TimedConfiguration, ...]
    seed: int
    session: int
    floor: Optional[JobModel]
    samples: str
    cores: Cores = None

    @property
    def called_models(self) -> tuple[JobModel, ...]:
        """The models of any configuration."""
        called = {m for configuration in self.configurations for m in configuration.models}
        return tuple(self.models[m] for m in sorted(called))

    def without(self, failed: Container[str]) -> Optional["LatencyJob"]:
        """Return the job with the configurations of the models that have not `failed`; None if there are none.

        The models keep their positions, by which the samples are stored.
        """
        left = tuple(
            replace(configuration, models=alive)
            for configuration in self.configurations
            if (alive := tuple(m for m in configuration.models if self.models[m].id not in failed))
        )
        return replace(self, configurations=left) if left else None


@dataclass(frozen=True)
class OfflineJob(ModelsJob, probe="offline"):
    """Determine the batch up to which each model's throughput grows.

    In the sessions that follow, all calls of all models together have `budget_ns`; each batch is called `repeats`
    times, for at least `least_ns`.
    """

    budget_ns: float
    repeats: int
    least_ns: float
    cores: Cores = None


@dataclass(frozen=True)
class SustainJob(ModelsJob, probe="sustain"):
    """Call `models` in turn, in blocks of about `block_s`, for `seconds`; `lines` is the file for a line per block."""

    seconds: float
    block_s: float
    lines: str
    cores: Cores = None


@dataclass(frozen=True)
class EnergyJob(ModelsJob, probe="energy"):
    """Measure energy in windows of `runs` (a model's id and a batch) with the meters `sources`, the leading one first.

    A window takes at least `least_ns` and `least_updates` updates of the leading meter, after `settle_ns`.
    """

    runs: tuple[tuple[str, int], ...]
    sources: tuple[str, ...]
    rounds: int
    least_ns: float
    least_updates: int
    settle_ns: float
    cores: Cores = None

    def without(self, failed: Container[str]) -> Optional["EnergyJob"]:
        """Return the job with the runs of the models that have not `failed`; None if no model is left."""
        left = super().without(failed)
        runs = tuple(run for run in self.runs if run[0] not in failed)
        return None if left is None else replace(self, models=left.models, runs=runs)


def job_of(value: Mapping[str, Any]) -> Job:
    """Return the job with the JSON values `value`."""
    return cast("Job", decode(JOBS[value["probe"]], value))

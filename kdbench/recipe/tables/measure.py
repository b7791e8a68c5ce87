"""What to measure and on which inputs: the `[measure]` and `[analysis]` tables, and the options of measured files."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from kdbench.results.preprocessing import InputSpec
from kdbench.user_input.toml_files import plain
from kdbench.user_input.validation import PublicValue, Value, WrongValueError, added_later

Mode = Literal["stream", "paced", "offline", "server"]
# kdbench.results.runtimes.RUNTIMES
Runtime = Literal[
    "onnxruntime",
    "torch",
    "torch-compiled",
    "openvino",
    "litert",
    "onnxruntime-web",
    "onnxruntime-web-node",
    "tflite-micro",
]
MIN_PRECISION = 0.004  # no interval of a speed-up is narrower (kdbench.statistics.few_sessions.RESOLUTION)


def _not_one(batch: object) -> object:
    if batch == 1:
        hint = "batch 1 is always measured; name larger batches, such as 8 and 128, or leave the option out"
        raise WrongValueError("1 should be greater than 1", hint)
    return batch


class Measure(PublicValue):
    """What to measure, how precisely and for how long. `options.MEASURE` declares an option for each field.

    Latency is measured in at least `sessions` fresh processes, until the interval of every headline speed-up is
    narrower than `precision` (a share of the speed-up) or `budget_s` is spent. `batch` lists the batch sizes that are
    timed in addition to 1; the largest also applies to the table's MACs column. `mode` is how calls are issued:
    `stream` back to back, `paced` with `gap_ms` idle before each, `server` arriving at random at `rate_per_s`;
    `offline` searches for the largest throughput. `runtime` executes the models, on `cores` in turn (default: see
    docs/recipes.md). `energy` is off, quick (0.5 s windows) or full (10 s or 100 updates of the meter).
    `estimate_energy` allows a labelled estimate if there is no meter; a `country` (ISO 3166, three letters) adds CO₂e.
    Without `times`, only metrics of the files are measured: scores, sizes and MACs.

        >>> kdbench.Measure(budget_s=60, threads=[1, 2]).threads
        (1, 2)
    """

    provider: Literal["cpu", "cuda"] = "cpu"
    threads: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (1,)
    batch: tuple[Annotated[int, Field(gt=1, le=1_000_000), BeforeValidator(_not_one)], ...] = (128,)
    mode: tuple[Mode, ...] = ("stream",)
    gap_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 5
    rate_per_s: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    runtime: tuple[Runtime, ...] = ("onnxruntime",)
    cores: tuple[Annotated[int, Field(ge=0, le=99_999)], ...] | None = None
    budget_s: float = Field(default=20.0, gt=0, le=1e7)
    precision: float = Field(default=0.05, ge=MIN_PRECISION, lt=1)
    sessions: int = Field(default=8, ge=2, le=10_000)
    energy: Literal["off", "quick", "full"] = "quick"
    estimate_energy: bool = False
    country: str | None = None
    profile: bool = False
    times: bool = added_later(default=True)

    @field_validator("threads", "batch", "mode", "runtime", "cores", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """Accept a single value as a list of one."""
        value = plain(value)
        return value if value is None or isinstance(value, list | tuple) else (value,)

    @field_validator("threads", "batch", "mode", "runtime", "cores")
    @classmethod
    def _without_duplicates(cls, value: tuple[object, ...] | None) -> tuple[object, ...] | None:
        if value == ():
            raise ValueError("name at least one")
        return value and tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _compatible(self) -> Self:
        if self.country is not None and self.energy == "off":
            raise ValueError("country turns joules into CO₂e, but energy is off")
        if "server" in self.mode and self.rate_per_s is None:
            raise ValueError("mode 'server' needs rate_per_s: how many calls arrive in a second")
        return self


class Analysis(Value):
    """Additional evaluations of the models.

    Each model also runs on about `train_samples` of its training images, the same share of every class (0: none), to
    compare training and test, and on all images whose label was changed. `std` is the standard deviation that
    standardizes logits: of the row as a population, or `unbiased`, as a sample.
    """

    train_samples: int = Field(default=2000, ge=0, le=1_000_000_000)
    std: Literal["population", "unbiased"] = "population"


class InputOptions(InputSpec):
    """The data to score models on, and its preprocessing. `options.INPUTS` declares their options.

    `data` is the name of a set, folder:PATH or npz:PATH. Without `accuracy` inputs are noise and no data is needed.
    `models` has the keys for single models, by id. The other keys apply to every model whose own files (its metadata,
    or a file next to it) do not define them. The defaults are scale 255, mean 0, std 1, and no resizing or cropping.
    """

    data: str | None = None
    data_root: str | None = None
    download: bool = False
    accuracy: bool = True
    models: dict[str, InputSpec] = Field(default_factory=dict)

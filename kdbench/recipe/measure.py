"""The `[measure]` table: what is measured of every model, how exactly and for how long."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from kdbench.validation import Value

Mode = Literal["stream", "paced", "offline", "server"]
Runtime = Literal["onnxruntime", "torch", "torch-compiled"]
Count = Annotated[int, Field(ge=1)]
LEAST_PRECISION = 0.004  # no interval of a speed-up is narrower (kdbench.statistics.few_sessions.RESOLUTION)


class Measure(Value):
    """What to measure, how exactly and for how long.

    Latency goes on in fresh processes, `sessions` at least, until every headline speed-up's interval is narrower than
    `precision` (a share of the speed-up) or `budget_s` is spent. `batch` are the batched runs beside batch 1; the
    largest is also that of the table's MACs column. `mode` is how calls follow each other: `stream` back to back,
    `paced` with `gap_ms` idle before each, `server` arriving at random at `rate_per_s`; `offline` looks for the
    largest throughput. `runtime` is what runs the models, `cores` where, in turns (default: see docs/recipes.md).
    `energy` is metered in windows of half a second (`quick`), or of ten seconds or a hundred updates of the meter
    (`full`); `estimate_energy` admits a labelled estimate where there is no meter, and with a `country` (ISO 3166,
    three letters) joules become CO₂e too.
    """

    provider: Literal["cpu", "cuda"] = "cpu"
    threads: tuple[Count, ...] = (1,)
    batch: tuple[Annotated[int, Field(gt=1)], ...] = (128,)
    mode: tuple[Mode, ...] = ("stream",)
    gap_ms: Count = 5
    rate_per_s: Count | None = None
    runtime: tuple[Runtime, ...] = ("onnxruntime",)
    cores: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    budget_s: float = Field(default=20.0, gt=0)
    precision: float = Field(default=0.05, ge=LEAST_PRECISION, lt=1)
    sessions: int = Field(default=8, ge=2)
    energy: Literal["off", "quick", "full"] = "quick"
    estimate_energy: bool = False
    country: str | None = None
    profile: bool = False

    @field_validator("threads", "batch", "mode", "runtime", "cores", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """Take a single value for a list of one."""
        return value if value is None or isinstance(value, list | tuple) else (value,)

    @field_validator("threads", "batch", "mode", "runtime", "cores")
    @classmethod
    def _each_once(cls, value: tuple[object, ...] | None) -> tuple[object, ...] | None:
        if value is None:
            return None
        if not value:
            raise ValueError("name at least one")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _energy_to_convert(self) -> Self:
        if self.country is not None and self.energy == "off":
            raise ValueError("country turns joules into CO₂e, and energy is off")
        return self

    @model_validator(mode="after")
    def _rate_of_a_server(self) -> Self:
        if "server" in self.mode and self.rate_per_s is None:
            raise ValueError("mode 'server' needs rate_per_s: how many calls arrive in a second")
        return self

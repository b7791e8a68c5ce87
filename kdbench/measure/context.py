"""The base class of measuring passes, the context that they work in, and the numbers that they expect to measure."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from kdbench.evaluate.predictions import Analyses
from kdbench.machine.system_monitor import Conditions
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.earlier_runs import EarlierRuns
from kdbench.measure.runner import Runner
from kdbench.measure.staging import null_model
from kdbench.measure.timed import ONNXRUNTIME, TimedModel, axes_of
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Unavailable
from kdbench.progress import Progress, Silent
from kdbench.recipe.tables.measure import Measure
from kdbench.registry import Registry
from kdbench.results.findings import Findings
from kdbench.results.metrics import PAIR_METRICS
from kdbench.results.records import Axes
from kdbench.worker.jobs import JobModel
from kdbench.worker.process import WorkerError


@dataclass(frozen=True)
class Start:
    """The start of a runtime with a model: the times of loading and of the first call, in ns.

    `max_abs` is the largest distance from onnxruntime's logits; `properties` is what the model needs in the runtime, as
    far as that reports it.
    """

    load_ns: int
    first_run_ns: int
    max_abs: float
    properties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The models, data and settings of a measurement, and what its passes share.

    models: those that some or all runtimes refuse included.
    jobs: the measurable models as measuring processes see them, by id.
    meters: the energy counters.
    starts, runtime_facts: from the admission of other runtimes, by runtime (and model).
    differing: by model, the batches at which outputs differ from those at batch 1, and how many outputs.
    folder: for files of the measuring processes.
    conditions: the machine's state during the processes is appended here.
    silent: models whose processes did not respond are added here.
    earlier_runs: those of the same models on this machine.
    """

    models: Sequence[BenchModel]
    config: Measure = field(default_factory=Measure)
    test: TestSet | None = None
    analyses: Analyses = field(default_factory=Analyses)
    meters: Choice = field(default_factory=lambda: Choice(Unavailable("energy is switched off")))
    jobs: Mapping[str, JobModel] = field(default_factory=dict)
    starts: Mapping[tuple[str, str], Start] = field(default_factory=dict)
    runtime_facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    differing: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    folder: Path = Path()
    conditions: list[Conditions] = field(default_factory=list)
    silent: dict[str, WorkerError] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)
    earlier_runs: EarlierRuns = field(default_factory=EarlierRuns)

    @property
    def timed(self) -> list[BenchModel]:
        """The models whose times are measured."""
        return [model for model in self.models if model.timed]

    @property
    def measurable(self) -> list[BenchModel]:
        """The models that can be measured at all."""
        return [model for model in self.models if model.refusal is None]

    @property
    def ready(self) -> list[BenchModel]:
        """The timed models that onnxruntime runs."""
        return [model for model in self.timed if model.refusal_in(ONNXRUNTIME) is None]

    @cached_property
    def runner(self) -> Runner:
        """What runs the measuring processes."""
        return Runner(self.config, self.folder, self.conditions, self.silent)

    @cached_property
    def null(self) -> JobModel:
        """A model that computes nothing."""
        return null_model(self.folder)

    def axes(self, **more: str | int) -> dict[str, str | int]:
        """Return the axes of a measurement with the first number of threads, and `more`."""
        return axes_of(self.config, **more)


@dataclass(frozen=True)
class Expected:
    """A number that a pass measures if nothing fails.

    needs: the ids of other models that it depends on.
    runtime: the one that it depends on, if any.
    teacher: of a pair of models, the teacher's id; `model` is then the student.
    varies: an axis whose values are known only after the measurement.
    """

    model: str
    metric: str
    axes: Axes = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    runtime: str | None = None
    teacher: str | None = None
    varies: str | None = None


def expected_pair(
    teacher: TimedModel, student: TimedModel, metric: str, axes: Axes | None = None, runtime: str | None = None
) -> Expected:
    """Return the expected `metric` of a student relative to its teacher."""
    varies = PAIR_METRICS[metric].finds
    return Expected(student.id, metric, axes or {}, (teacher.id,), runtime, teacher.id, varies)


def expected_of(
    models: Iterable[TimedModel], metrics: Iterable[str], axes: Axes | None = None, runtime: str | None = None
) -> Iterator[Expected]:
    """Yield each of `metrics` of each of `models` at `axes`."""
    for model, metric in product(models, metrics):
        yield Expected(model.id, metric, axes or {}, runtime=runtime)


class Pass(ABC):
    """One kind of measurement. Passes run by ascending `order`; the first axes of a metric are its headline."""

    order: int

    def expected(self, context: Context) -> Iterable[Expected]:  # noqa: ARG002 - for those that measure metrics
        """Return every number that the pass measures, of refused models too; by default none."""
        return ()

    def weight(self, context: Context) -> float:  # noqa: ARG002 - for those that take their time
        """Return the estimated seconds that the pass takes, for the progress; by default 0."""
        return 0.0

    @abstractmethod
    def run(self, context: Context) -> Findings:
        """Measure. The `failures` of the findings say why expected numbers are missing."""


PASSES: Registry[Callable[[], Pass]] = Registry(
    "measuring pass", package="kdbench.measure.passes", group="kdbench.measuring_passes"
)


def all_passes() -> dict[str, Pass]:
    """Return every pass by its name, in order."""
    passes = {name: make() for name, make in PASSES}
    return dict(sorted(passes.items(), key=lambda item: item[1].order))

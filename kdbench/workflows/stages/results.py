"""The end of a workflow: findings become a record, and record, samples, verdicts and reports are written."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

from kdbench import report
from kdbench.errors import DivergedError, MeasurementError
from kdbench.judge.readiness import judge
from kdbench.judge.target import Target
from kdbench.machine.diagnostics import environment_diagnostics
from kdbench.recipe import Measure, Recipe
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Findings
from kdbench.results.records import Environment, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import Samples, write_samples
from kdbench.results.verdicts import Verdict, write_verdicts

P = ParamSpec("P")


@dataclass(frozen=True)
class RunResults:
    """What a workflow wrote to `folder`: the record, its raw samples, and a verdict on each target."""

    folder: RunFolder
    record: RunRecord
    samples: Samples
    verdicts: tuple[Verdict, ...] = ()

    def raise_on_failed_models(self) -> None:
        """Raise if a model could not be run, or if its logits are not finite; the results stay in the folder.

        Raises DivergedError or MeasurementError.
        """
        hint = f"what else was measured is in {self.folder.path}"
        for card in self.record.models:
            vital = [
                m for m in self.record.measurements if m.model == card.id and m.metric in {"top1", "latency_p50_ns"}
            ]
            for measurement in vital:
                # An invalid latency is a result: that of a server that cannot keep up.
                if measurement.metric == "top1" and measurement.status == "invalid":
                    message = f"{card.id}: no accuracy: {measurement.reason}"
                    raise DivergedError(message, f"check its weights and the preprocessing; {hint}")
            if all(measurement.status in {"error", "unavailable"} for measurement in vital):
                error = next((measurement for measurement in vital if measurement.status == "error"), None)
                if error is not None:
                    raise MeasurementError(f"{card.id} could not be run: {error.reason}", hint)


def assemble_record(
    findings: Findings,
    measure: Measure,
    environment: Environment,
    models: Sequence[ModelCard],
    *,
    kind: Literal["run", "bench"],
    name: str,
    title: str,
    command: str,
    recipe: Recipe | None = None,
    protocol: Mapping[str, Any] | None = None,
) -> RunRecord:
    """Return the record of `findings`, measured as `measure` says in `environment`; `protocol` has further facts."""
    return RunRecord(
        kind=kind,
        name=name,
        title=title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=None if recipe is None else _without_paths(recipe),
        recipe_hash=None if recipe is None else recipe.hash(),
        protocol={**measure.model_dump(mode="json"), **(protocol or {}), **findings.protocol},
        environment=environment,
        models=tuple(models),
        measurements=findings.measurements,
        pairs=findings.pairs,
        layers=findings.layers,
        warnings=(*environment_diagnostics(environment), *findings.warnings),
    )


def _without_paths(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe without the local folder of its data: records are published."""
    resolved = recipe.resolved()
    return {**resolved, "data": {**resolved["data"], "root": None}}


def write_results(record: RunRecord, samples: Samples, folder: RunFolder, targets: Sequence[Target] = ()) -> RunResults:
    """Write samples, record, the verdict on each target, and the reports (Markdown and HTML); return the results."""
    write_samples(folder.samples, samples)
    record.write(folder.record)
    verdicts = tuple(judge(record, target) for target in targets)
    write_verdicts(verdicts, folder)
    report.write(report.Content(record, verdicts, samples), folder.path, ("md", "html"))
    return RunResults(folder, record, samples, verdicts)


def record_and_folder(workflow: Callable[P, RunResults], name: str) -> Callable[P, tuple[RunRecord, Path]]:
    """Return a workflow's form in the Python API, called `name`.

    It returns the record and the run's folder, and raises where a model could not be run.
    """

    @wraps(workflow)
    def call(*args: P.args, **kwargs: P.kwargs) -> tuple[RunRecord, Path]:
        results = workflow(*args, **kwargs)
        results.raise_on_failed_models()
        return results.record, results.folder.path

    call.__name__ = call.__qualname__ = name
    signature = inspect.signature(workflow).replace(return_annotation=tuple[RunRecord, Path])
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call

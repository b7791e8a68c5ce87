"""The end of a workflow: findings become a record, and record, samples, verdicts and reports are written."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from kdbench import report
from kdbench.errors import DivergedError, KdbenchError, MeasurementError, StorageError
from kdbench.judge.readiness import judge
from kdbench.judge.target import Target, shipped_targets
from kdbench.machine.diagnostics import environment_diagnostics
from kdbench.recipe import Measure, Recipe
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Findings
from kdbench.results.records import Environment, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import Samples, write_samples
from kdbench.results.verdicts import Verdict, write_verdicts
from kdbench.user_input.hints import as_recipe_keys

_SCORES = {"top1": "accuracy", "mse": "error"}
"""The score of a classification and of a regression, by metric: a model without it failed on its data."""


@dataclass(frozen=True)
class RunResults:
    """What a workflow wrote to `folder`: the record, its raw samples, and a verdict on each target."""

    folder: RunFolder
    record: RunRecord
    samples: Samples
    verdicts: tuple[Verdict, ...] = ()

    def raise_on_failed_models(self) -> None:
        """Raise MeasurementError if a model could not be run, DivergedError if its logits are not finite."""
        hint = f"the other measurements are in {self.folder.path}"
        if error := failure_of(self.record):
            raise type(error)(error.message, f"{error.hint}; {hint}" if error.hint else hint)


def failure_of(record: RunRecord) -> KdbenchError | None:
    """Return the error of the first model that could not be run, or has no accuracy on the data; None without one."""
    return next(iter(failures_of(record).values()), None)


def failures_of(record: RunRecord) -> dict[str, KdbenchError]:
    """Return the errors of the models that could not be run, or have no accuracy on the data, by id."""
    failures = ((id_, _failure_of(id_, record)) for id_ in record.cards)
    return {id_: error for id_, error in failures if error is not None}


def _failure_of(id_: str, record: RunRecord) -> KdbenchError | None:
    required = [m for m in record.measurement_index.for_model(id_) if m.metric in {*_SCORES, "latency_p50_ns"}]
    accuracy = next((m for m in required if m.metric in _SCORES and not m.axes), None)
    # An invalid latency, unlike an invalid accuracy, is a result: the server cannot keep up.
    if accuracy is not None and accuracy.status == "invalid":
        message = f"{id_}: no {_SCORES[accuracy.metric]}: {accuracy.reason}"
        return DivergedError(message, "check its weights and the preprocessing")
    if accuracy is not None and accuracy.status == "error":
        return MeasurementError(f"{id_} could not be run on the data: {accuracy.reason}", accuracy.hint or "")
    errors = [m for m in required if m.status == "error"]
    if errors and all(m.status in {"error", "unavailable"} for m in required):
        return MeasurementError(f"{id_} could not be run: {errors[0].reason}", errors[0].hint or "")
    return None


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
    """Return the record of `findings`, measured in `environment` by `measure`; `protocol` adds facts.

    The recipe is stored without its local folder and that of its data, because records are published.
    """
    # Scores, sizes and MACs are the same on any machine.
    diagnostics = environment_diagnostics(environment) if measure.times else ()
    findings = replace(findings, warnings=(*diagnostics, *findings.warnings))
    if recipe is not None:
        findings = _with_recipe_keys(findings)
    return RunRecord(
        kind=kind,
        name=name,
        title=title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=None if recipe is None else recipe.published(),
        recipe_hash=None if recipe is None else recipe.hash(),
        protocol={**measure.model_dump(mode="json"), **(protocol or {}), **findings.protocol},
        environment=environment,
        models=tuple(models),
        measurements=findings.measurements,
        pairs=findings.pairs,
        layers=findings.layers,
        warnings=findings.warnings,
    )


def _with_recipe_keys(findings: Findings) -> Findings:
    """Return the findings with hints and remedies that name keys of the recipe instead of options."""
    return replace(
        findings,
        measurements=tuple(
            m.model_copy(update={"hint": as_recipe_keys(m.hint)}) if m.hint else m for m in findings.measurements
        ),
        warnings=tuple(w.model_copy(update={"remedy": as_recipe_keys(w.remedy)}) for w in findings.warnings),
    )


def write_results(record: RunRecord, samples: Samples, folder: RunFolder, targets: Sequence[Target] = ()) -> RunResults:
    """Write samples, record, the verdict on each target, and the reports (Markdown and HTML); return the results."""
    write_samples(folder.samples, samples)
    record.write(folder.record)
    # A model that fails on the data gets no verdict: its remaining numbers could pass.
    verdicts = () if failure_of(record) else tuple(judge(record, target) for target in targets)
    with record_kept(folder, [verdict.target for verdict in verdicts]):
        write_verdicts(verdicts, folder)
        report.write(report.Content(record, verdicts, samples), folder.path, ("md", "html"))
    return RunResults(folder, record, samples, verdicts)


@contextmanager
def record_kept(folder: RunFolder, targets: Sequence[str] = ()) -> Iterator[None]:
    """Let the hint of a StorageError say that the record is complete: nothing needs to be measured again.

    `targets` are the names of the targets whose verdicts are not stored either.
    """
    try:
        yield
    except StorageError as error:
        steps = f"{folder.report_command} writes the reports"
        if targets:
            shipped = shipped_targets()
            names = [name if name in shipped else f"{name}.toml" for name in targets]
            options = [word for name in names for word in ("--target", name)]
            steps = f"{shlex.join(('kdbench', 'ready', str(folder.path), *options))} stores the verdicts, and {steps}"
        error.advise(f"the record is complete: when its folder can be written, {steps}")
        raise

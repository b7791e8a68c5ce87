"""`bench`: measure model files from Python."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Unpack

from kdbench.api.finishing import checked_trackers, final_results
from kdbench.api.inputs import Inputs, input_options
from kdbench.api.progress import progress_display
from kdbench.api.results import Results
from kdbench.judge.target import Target
from kdbench.progress import Progress
from kdbench.recipe import InputOptions, Measure
from kdbench.user_input.arguments import checked
from kdbench.user_input.hints import python_hints
from kdbench.workflows.bench import bench_models


@checked
@python_hints()
def bench(
    paths: str | Path | Sequence[str | Path] = (),
    *,
    measure: Measure | Mapping[str, Any] | None = None,
    teacher: str | Mapping[str, str] | None = None,
    torch: Sequence[str] = (),
    weights: Sequence[str] = (),
    out: str | Path | None = None,
    targets: Sequence[Target | str | Path] = (),
    log: str | Sequence[str] = (),
    name: str = "bench",
    progress: Progress | None = None,
    **inputs: Unpack[Inputs],
) -> Results:
    """Measure model files side by side; write record and reports, and return the results.

        >>> run = kdbench.bench(
        ...     ["teacher.onnx", "student.onnx"], data="digits", measure=kdbench.Measure(times=False), out="runs/new"
        ... )
        >>> run.find("student", "top1").n
        359

    `paths` are ONNX files and torch's exported programs (.pt2). `torch` are networks of your own code, as import paths
    `[ID=]pkg.module:factory`, and `weights` their files; both need the extra `train`. Ratios are relative to the first
    file, or to `teacher`: the id of another model (its file's name without suffix), or a mapping from each id to the id
    of its reference. `data` is a data set's name, `folder:PATH` or `npz:PATH`; `accuracy=False` needs none. The other
    input keywords (`data_root`, `mean`, `std`, `resize`, `crop`, …) are the options of `kdbench bench`. `measure`
    defines what to measure, how precisely and for how long. `targets` are judged at the end. `log` names experiment
    trackers that get the results: mlflow, tensorboard or wandb, each with its extra. Without `out`, results go to a new
    folder below runs/.

    Raises InputError for files, data and options that do not fit each other, and for a tracker that fails. Raises
    MissingExtraError for an extra that is not installed. Raises MeasurementError if a model could not be run; the other
    results are then in the folder.
    """
    loggers = checked_trackers(log)
    with progress_display(progress) as display:
        results = bench_models(
            paths,
            torch=torch,
            weights=weights,
            name=name,
            inputs=input_options(inputs),
            teacher=teacher,
            options=measure if isinstance(measure, Measure) else Measure(**(measure or {})),
            out=out,
            targets=targets,
            progress=display,
        )
        return final_results(results, loggers, display)


def _signature() -> Signature:
    """Return the parameters of `bench` with the keys of `Inputs` in place of `inputs`."""
    *others, _ = signature(bench).parameters.values()
    keys = InputOptions.model_fields
    fields = [
        Parameter(
            name, Parameter.KEYWORD_ONLY, default=keys[name].get_default(call_default_factory=True), annotation=type_
        )
        for name, type_ in Inputs.__annotations__.items()
    ]
    return Signature([*others, *fields], return_annotation=Results)


bench.__signature__ = _signature()  # type: ignore[attr-defined]

"""`kdbench bench`: measure model files that kdbench did not train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.invocation import Invocation
from kdbench.cli.options import Json, Out, Quiet, measuring, option
from kdbench.cli.verdicts import Targets, load_targets, show_results

if TYPE_CHECKING:
    from kdbench.recipe import InputOptions, Measure


@measuring
def bench(
    ctx: typer.Context,
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="ONNX files; the first is the reference.")],
    inputs: "InputOptions",
    measure: "Measure",
    teacher: Annotated[
        str | None, option("--teacher", "MODEL", "Model that ratios are relative to (default: the first).")
    ] = None,
    out: Out = None,
    targets: Targets = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Measure ONNX models: accuracy, latency, cost, size and energy, with ratios.

    With --target the exit code is the verdict's, as for `kdbench ready`. With --json the result is the content of
    record.json with the additional keys "folder" and, with --target, "verdicts".

    Example: kdbench bench big.onnx small.onnx --data cifar10 --mean .485,.456,.406 --std .229,.224,.225 --budget 20s
    """
    from kdbench.cli.progress import watching

    invocation = Invocation.of(ctx)
    loaded = load_targets(targets)
    with watching(invocation, quiet=quiet) as progress:
        from kdbench.workflows.bench import bench_models

        results = bench_models(
            models,
            inputs=inputs,
            teacher=teacher,
            options=measure,
            out=out,
            targets=loaded,
            progress=progress,
            command=invocation.command,
        )
        results.raise_on_failed_models()
    return show_results(results, json=json)

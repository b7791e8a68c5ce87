"""`kdbench bench`: measure model files that kdbench did not train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.cli.invocation import Invocation
from kdbench.cli.options import Json, Log, Out, QuietProgress, Texts, Title, measuring, option, several_names
from kdbench.cli.verdicts import Targets, load_targets, show_results
from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.recipe import InputOptions, Measure


@measuring
def bench(
    ctx: typer.Context,
    inputs: "InputOptions",
    measure: "Measure",
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL", help="ONNX files and .pt2 programs; the first is the reference."),
    ] = None,
    torch: Annotated[
        Texts, option("--torch", "[ID=]MODULE:FACTORY", "A torch network that a function or class returns; repeatable.")
    ] = None,
    weights: Annotated[
        Texts,
        option("--weights", "[ID=]FILE", "Weights of a --torch network: .safetensors, or a state dict; repeatable."),
    ] = None,
    teacher: Annotated[
        str | None, option("--teacher", "MODEL", "Model that ratios are relative to (default: the first).")
    ] = None,
    on: Annotated[
        str | None, option("--on", "ssh:USER@HOST", "Also measure on this device, and merge its numbers.")
    ] = None,
    on_python: Annotated[
        str | None, option("--on-python", "PYTHON", "The device's Python, 3.9 or later (default: python3).")
    ] = None,
    out: Out = None,
    targets: Targets = None,
    log: Log = None,
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> int:
    """Measure ONNX models and torch networks: accuracy, latency, cost, size and energy, with ratios.

    kdbench exports networks of --torch to ONNX in the run's folder, checks the files, and measures them.

    With --on, the files are also measured on a device: kdbench copies a bundle there with your ssh, runs it and merges
    the result. With --target the exit code is the verdict's, as for `kdbench ready`. With --json the result is the
    content of record.json with the additional keys "folder" and, with --target, "verdicts".

    Example: kdbench bench big.onnx small.onnx --data cifar10 --mean .485,.456,.406 --std .229,.224,.225 --budget 20s
    """
    from kdbench.cli.progress import watching

    if not models and not torch:
        raise InputError("there is no MODEL to measure", "name at least one .onnx file, or a network with --torch")
    invocation = Invocation.of(ctx)
    invocation.measures = True
    loaded, trackers = load_targets(targets), several_names("--log", log)
    if trackers:
        from kdbench.workflows.stages.log import require_loggers

        require_loggers(trackers)
    if on_python is not None and on is None:
        raise InputError("--on-python needs --on", "add --on ssh:user@host")
    remote = None
    if on is not None:
        from kdbench.edge.ssh import remote_of

        remote = remote_of(on, on_python)
    with watching(invocation, quiet=quiet, title=title) as progress:
        from kdbench.workflows.bench import bench_models

        if remote is not None:
            from kdbench.workflows.on_device import measure_on, require_device

            software = require_device(remote, loaded)
        results = bench_models(
            models or (),
            torch=torch or (),
            weights=weights or (),
            inputs=inputs,
            teacher=teacher,
            options=measure,
            out=out,
            targets=loaded,
            progress=progress,
            command=invocation.command,
        )
        results.raise_on_failed_models()
        if remote is not None:
            results = measure_on(
                results,
                remote,
                software,
                files=models or (),
                inputs=inputs,
                options=measure,
                targets=loaded,
                progress=progress,
            )
        if trackers:
            from kdbench.workflows.stages.log import log_results

            log_results(results.record, results.folder, trackers, progress)
    return show_results(results, json=json)

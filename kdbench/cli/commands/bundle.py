"""`kdbench bundle`: a run's models packed for a device."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import Json, QuietProgress, RunPath, Texts, Title, measuring, option
from kdbench.cli.verdicts import target_names
from kdbench.errors import InputError
from kdbench.user_input.options import MEASURE, Option, count

if TYPE_CHECKING:
    from kdbench.recipe import InputOptions

_SAMPLES = Option("samples", "Number of samples whose outputs are compared", "N", count, "300")
_OPTIONS = ("threads", "batch", "budget_s", "precision", "sessions", "energy")


@measuring
def bundle(
    ctx: typer.Context,
    run: RunPath,
    inputs: "InputOptions",
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Model files that are not in the run's folder.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="T",
            help="The device: a shipped target (kdbench list targets) or a .toml file.  [required]",
            autocompletion=target_names,
        ),
    ] = None,
    models: Annotated[
        Texts, option("--model", "NAME", "Pack this model and its teacher; repeatable (default: all but the teachers).")
    ] = None,
    samples: Annotated[str, option("--samples", _SAMPLES.metavar, f"{_SAMPLES.help}.")] = _SAMPLES.default,
    python: Annotated[
        str | None, option("--python", "3.N", "The device's Python, if the target does not state it.")
    ] = None,
    onnxruntime: Annotated[str | None, option("--onnxruntime", "1.N", "The device's onnxruntime.")] = None,
    lower: Annotated[
        bool,
        typer.Option(
            "--lower", help="Rewrite files that are too new for the device, with lower opset and IR versions."
        ),
    ] = False,
    threads: Annotated[str | None, option("--threads", "N,…", "Thread counts (default: 1 and all cores).")] = None,
    batch: Annotated[
        str | None, option("--batch", "N,…", "Batch sizes (default: those that the target names).")
    ] = None,
    budget: Annotated[str | None, option("--budget", "TIME", "Maximum time for latency (default: 60s).")] = None,
    precision: Annotated[str | None, option("--precision", "SHARE", MEASURE["precision"].description)] = None,
    sessions: Annotated[str | None, option("--sessions", "N", MEASURE["sessions"].description)] = None,
    energy: Annotated[str | None, option("--energy", "[off|quick|full]", MEASURE["energy"].description)] = None,
    out: Annotated[Path | None, option("--out", "FILE", "The bundle (default: RUN/bundles/TARGET.zip).")] = None,
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> int:
    """Pack a run's models, inputs and measuring code for a device that has Python, numpy and onnxruntime.

    On the device: python3 -m zipfile -e BUNDLE.zip bundle && python3 bundle/run.py. Its result comes back with `kdbench
    merge RUN result.zip`. With --json the result is {"bundle": …, "id": …, "models": […], "bytes": …}.

    Example: kdbench bundle runs/first --target raspberry-pi-5
    """
    from kdbench.cli.progress import watching
    from kdbench.results.run_folder import RunFolder

    RunFolder.of(run)  # a run that is not there is the first thing to know
    if target is None:
        from kdbench.edge.bundles.checks import bundled_targets

        shipped = ", ".join(bundled_targets())
        raise InputError("no target is named", f"add --target T: one of {shipped}, or your own .toml file")
    typed = dict(zip(_OPTIONS, (threads, batch, budget, precision, sessions, energy), strict=True))
    options = {
        field: MEASURE[field].read(text, f"--{MEASURE[field].name}")
        for field, text in typed.items()
        if text is not None
    }
    wanted = _SAMPLES.read(samples, "--samples")
    with watching(Invocation.of(ctx), quiet=quiet, title=title) as progress:
        from kdbench.workflows.bundle import bundle as workflow

        made = workflow(
            run,
            target,
            models=models or (),
            files=files or (),
            inputs=inputs,
            options=options,
            samples=wanted,
            python=python,
            onnxruntime=onnxruntime,
            lower=lower,
            out=out,
            progress=progress,
        )
    _show(made, run, json=json)
    return 0


def _show(made: Any, run: Path, *, json: bool) -> None:
    from kdbench import units
    from kdbench.results.run_folder import RunFolder

    size, plan = made.file.stat().st_size, made.bundle.plan
    if json:
        values = {"bundle": str(made.file), "id": made.bundle.id, "models": [model.id for model in plan.models]}
        cautions = [caution.model_dump(mode="json") for caution in made.cautions]
        console.result_json({**values, "bytes": size, "cautions": cautions})
        return
    for caution in made.cautions:
        console.say(f"note: {caution.model}: {caution.message}: {caution.remedy}")
    for model in plan.models:
        if model.lowered:
            console.say(f"note: {model.id}: written for the device with {model.lowered}")
    names = ", ".join(model.name for model in plan.models)
    console.result(f"bundle: {made.file} ({units.size(size)}; {names}; {plan.samples} samples)")
    console.result("on the device, with Python 3.9 or later, numpy and onnxruntime:")
    console.result(f"  python3 -m zipfile -e {shlex.quote(made.file.name)} bundle && python3 bundle/run.py")
    folder = RunFolder.of(run).path
    console.result("back here, with the file bundle/result.zip that it writes:")
    console.result(f"  {shlex.join(('kdbench', 'merge', str(folder), 'result.zip'))}")

"""`kdbench bench`: measure model files that kdbench did not train."""

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import measuring, options
from kdbench.cli.measuring import Energy, Provider
from kdbench.cli.options import EstimateEnergy, Json, Quiet
from kdbench.cli.session import Session
from kdbench.cli.targets import Targets, load_targets, show_run
from kdbench.errors import InputError


def bench(
    ctx: typer.Context,
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="ONNX files; the first is the reference.")],
    data: measuring.Data = None,
    data_root: measuring.DataRoot = None,
    download: measuring.Download = False,
    resize: measuring.Resize = None,
    crop: measuring.Crop = None,
    mean: measuring.Mean = None,
    std: measuring.Std = None,
    scale: measuring.Scale = None,
    teacher: Annotated[str | None, typer.Option(help="Model the ratios are taken against.")] = None,
    output: measuring.Output = None,
    no_accuracy: measuring.NoAccuracy = False,
    provider: measuring.OfProvider = Provider.CPU,
    threads: measuring.Threads = "1",
    batch: measuring.Batch = "128",
    mode: Annotated[str, typer.Option(metavar="MODE,…", help="stream, paced, offline, server.")] = "stream",
    gap: Annotated[str | None, typer.Option(help="Idle time before each paced call (default: 5ms).")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Calls arriving a second, in mode server.")] = None,
    runtime: Annotated[str, typer.Option(metavar="NAME,…", help="onnxruntime, torch, torch-compiled.")] = "onnxruntime",
    cores: measuring.Cores = None,
    budget: measuring.Budget = "20s",
    precision: measuring.Precision = "5%",
    sessions: measuring.Sessions = 8,
    profile: Annotated[bool, typer.Option("--profile", help="Also where the time goes, layer by layer.")] = False,
    energy: measuring.OfEnergy = Energy.QUICK,
    estimate_energy: EstimateEnergy = False,
    country: Annotated[
        str | None, typer.Option(metavar="ISO", help="Country, such as DEU, whose electricity turns joules into CO₂e.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to (default: below runs/).")] = None,
    targets: Targets = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Measure ONNX models: accuracy, latency, cost, size and energy, with ratios.

    With --target the exit code is that of the verdict, as of `kdbench ready`. With --json the result is the content of
    record.json, and the keys "folder" and, with --target, "verdicts" beside it.

    Example: kdbench bench big.onnx small.onnx --data cifar10 --mean .485,.456,.406 --std .229,.224,.225 --budget 20s
    """
    from kdbench.cli.progress import watching

    session = Session.of(ctx)
    judged_by = load_targets(targets)
    mean_values = options.numbers(mean, "--mean") if mean else None
    std_values = options.numbers(std, "--std") if std else None
    modes = options.names(mode)
    for option, value, needed in (("--gap", gap, "paced"), ("--rate", rate, "server")):
        if value is not None and needed not in modes:
            raise InputError(f"{option} is of calls in mode {needed}", f"add --mode {needed}, or leave {option} out")
    settings = measuring.settings(
        provider=provider,
        threads=threads,
        batch=batch,
        mode=modes,
        **({} if gap is None else {"gap_ms": options.milliseconds(gap, "--gap")}),
        rate_per_s=rate,
        runtime=options.names(runtime),
        cores=cores,
        budget=budget,
        precision=precision,
        sessions=sessions,
        energy=energy,
        estimate_energy=estimate_energy,
        country=country,
        profile=profile,
    )
    with watching(session, quiet=quiet) as progress:
        from kdbench.workflows.bench import bench as bench_models

        record, folder = bench_models(
            models,
            data=data,
            data_root=data_root,
            download=download,
            resize=resize,
            crop=crop,
            mean=mean_values,
            std=std_values,
            scale=scale,
            teacher=teacher,
            output=output,
            accuracy=not no_accuracy,
            options=settings,
            out=out,
            targets=judged_by,
            progress=progress,
            command=session.command,
        )
    return show_run(record, folder, judged_by, json=json)

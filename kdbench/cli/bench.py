"""`kdbench bench`: measure model files that kdbench did not train."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import console, options
from kdbench.cli.options import EstimateEnergy, Json, Quiet
from kdbench.cli.session import Session
from kdbench.errors import InputError


class Provider(StrEnum):
    """What runs the models."""

    CPU = "cpu"
    CUDA = "cuda"


class Energy(StrEnum):
    """How thoroughly energy is metered."""

    OFF = "off"
    QUICK = "quick"
    FULL = "full"


def bench(
    ctx: typer.Context,
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="ONNX files; the first is the reference.")],
    data: Annotated[str | None, typer.Option(help="Data set to score on: a name, folder:PATH or npz:PATH.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Where data sets lie (default: KDBENCH_DATA).")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set if it is missing.")] = False,
    resize: Annotated[int | None, typer.Option(min=1, help="Resize the shorter side of images to this.")] = None,
    crop: Annotated[int | None, typer.Option(min=1, help="Then cut this square out of the centre.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="M,…", help="Mean per channel, after scaling.")] = None,
    std: Annotated[str | None, typer.Option(metavar="S,…", help="Standard deviation per channel.")] = None,
    scale: Annotated[float | None, typer.Option(help="Pixels are divided by this first (default: 255).")] = None,
    teacher: Annotated[str | None, typer.Option(help="Model the ratios are taken against.")] = None,
    output: Annotated[str | None, typer.Option(help="Name of the output that holds the logits.")] = None,
    no_accuracy: Annotated[bool, typer.Option("--no-accuracy", help="Synthetic inputs; no data needed.")] = False,
    provider: Annotated[Provider, typer.Option(help="What runs the models.")] = Provider.CPU,
    threads: Annotated[str, typer.Option(metavar="N,…", help="Thread counts to measure at.")] = "1",
    batch: Annotated[str, typer.Option(metavar="N,…", help="Batches of the batched runs.")] = "128",
    mode: Annotated[str, typer.Option(metavar="MODE,…", help="stream, paced, offline, server.")] = "stream",
    gap: Annotated[str | None, typer.Option(help="Idle time before each paced call (default: 5ms).")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Calls arriving a second, in mode server.")] = None,
    runtime: Annotated[str, typer.Option(metavar="NAME,…", help="onnxruntime, torch, torch-compiled.")] = "onnxruntime",
    cores: Annotated[
        str | None,
        typer.Option(metavar="N,…", help="Cores that processes take turns on (default: all that are alike)."),
    ] = None,
    budget: Annotated[str, typer.Option(help="Most time for latency, all models together: 30s, 2m.")] = "20s",
    precision: Annotated[str, typer.Option(help="Go on until the speed-ups' intervals are narrower.")] = "5%",
    sessions: Annotated[int, typer.Option(min=2, help="Fresh processes to spread it over, at least.")] = 8,
    profile: Annotated[bool, typer.Option("--profile", help="Also where the time goes, layer by layer.")] = False,
    energy: Annotated[
        Energy, typer.Option(help="None; windows of half a second; of ten seconds or 100 updates.")
    ] = Energy.QUICK,
    estimate_energy: EstimateEnergy = False,
    country: Annotated[
        str | None, typer.Option(metavar="ISO", help="Country, such as DEU, whose electricity turns joules into CO₂e.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to (default: below runs/).")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure ONNX models: accuracy, latency, cost, size and energy, with ratios.

    With --json the result is the content of record.json, and the key "folder" beside it.

    Example: kdbench bench big.onnx small.onnx --data cifar10 --mean .485,.456,.406 --std .229,.224,.225 --budget 20s
    """
    from kdbench.cli.progress import watching

    session = Session.of(ctx)
    mean_values = options.numbers(mean, "--mean") if mean else None
    std_values = options.numbers(std, "--std") if std else None
    modes = options.names(mode)
    for option, value, needed in (("--gap", gap, "paced"), ("--rate", rate, "server")):
        if value is not None and needed not in modes:
            raise InputError(f"{option} is of calls in mode {needed}", f"add --mode {needed}, or leave {option} out")
    settings = options.measure_settings(
        provider=provider.value,
        threads=options.counts(threads, "--threads"),
        batch=options.counts(batch, "--batch"),
        mode=modes,
        **({} if gap is None else {"gap_ms": options.milliseconds(gap, "--gap")}),
        rate_per_s=rate,
        runtime=options.names(runtime),
        cores=options.cores(cores, "--cores") if cores is not None else None,
        budget_s=options.seconds(budget, "--budget"),
        precision=options.share(precision, "--precision"),
        sessions=sessions,
        energy=energy.value,
        estimate_energy=estimate_energy,
        country=country,
        profile=profile,
    )
    with watching(session, quiet=quiet) as progress:
        from kdbench import benching

        record, folder = benching.bench(
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
            progress=progress,
            command=session.command,
        )
    console.show_record(record, folder, json=json)

"""Options of the commands that measure files: what data, fed how, measured how."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import options

if TYPE_CHECKING:
    from kdbench.recipe import Measure


class Provider(StrEnum):
    """What runs the models."""

    CPU = "cpu"
    CUDA = "cuda"


class Energy(StrEnum):
    """How thoroughly energy is metered."""

    OFF = "off"
    QUICK = "quick"
    FULL = "full"


Data = Annotated[str | None, typer.Option(help="Data set to score on: a name, folder:PATH or npz:PATH.")]
DataRoot = Annotated[str | None, typer.Option(help="Where data sets lie (default: KDBENCH_DATA).")]
Download = Annotated[bool, typer.Option("--download", help="Fetch the data set if it is missing.")]
Resize = Annotated[int | None, typer.Option(min=1, help="Resize the shorter side of images to this.")]
Crop = Annotated[int | None, typer.Option(min=1, help="Then cut this square out of the centre.")]
Mean = Annotated[str | None, typer.Option(metavar="M,…", help="Mean per channel, after scaling.")]
Std = Annotated[str | None, typer.Option(metavar="S,…", help="Standard deviation per channel.")]
Scale = Annotated[float | None, typer.Option(help="Pixels are divided by this first (default: 255).")]
Output = Annotated[str | None, typer.Option(help="Name of the output that holds the logits.")]
NoAccuracy = Annotated[bool, typer.Option("--no-accuracy", help="Synthetic inputs; no data needed.")]
OfProvider = Annotated[Provider, typer.Option("--provider", help="What runs the models.")]
Threads = Annotated[str, typer.Option(metavar="N,…", help="Thread counts to measure at.")]
Batch = Annotated[str, typer.Option(metavar="N,…", help="Batches of the batched runs.")]
Cores = Annotated[
    str | None, typer.Option(metavar="N,…", help="Cores that processes take turns on (default: all that are alike).")
]
Budget = Annotated[str, typer.Option(help="Most time for latency, all models together: 30s, 2m.")]
Precision = Annotated[str, typer.Option(help="Go on until the speed-ups' intervals are narrower.")]
Sessions = Annotated[int, typer.Option(min=2, help="Fresh processes to spread it over, at least.")]
OfEnergy = Annotated[
    Energy, typer.Option("--energy", help="None; windows of half a second; of ten seconds or 100 updates.")
]


def settings(
    *,
    provider: Provider,
    threads: str,
    batch: str,
    cores: str | None,
    budget: str,
    precision: str,
    energy: Energy,
    **others: Any,
) -> "Measure":
    """Return the settings of a measuring pass from these options as they were typed, and `others` as they are.

    Raises InputError for an option that cannot be read, and for settings that are not possible.
    """
    return options.measure_settings(
        provider=provider.value,
        threads=options.counts(threads, "--threads"),
        batch=options.counts(batch, "--batch"),
        cores=options.cores(cores, "--cores") if cores is not None else None,
        budget_s=options.seconds(budget, "--budget"),
        precision=options.share(precision, "--precision"),
        energy=energy.value,
        **others,
    )

"""`kdbench compare`: what changed between two runs, or two states of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console, measuring, options
from kdbench.cli.measuring import Energy, Provider
from kdbench.cli.options import EstimateEnergy, Json, Quiet
from kdbench.cli.session import Session
from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.results.verdicts import Comparison

_STDOUT = Path("-")
# All options but these say how to measure, and mean nothing where nothing is measured.
_OF_COMPARING = {"base", "new", "models", "metrics", "thresholds", "remeasure", "markdown", "junit", "quiet", "json"}


def compare(
    ctx: typer.Context,
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A run's folder or record.json; or an .onnx file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="What is compared with it.")],
    models: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="Model, or BASE=NEW; repeatable (default: all).")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="ID", help="Metric; repeatable (default: accuracy, latency, memory, size, …)."
        ),
    ] = None,
    thresholds: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold", metavar="[ID=]N", help="How much worse: 10%, macs=2%, top1=0.3 (points); repeatable."
        ),
    ] = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="Measure both side by side here and now: no stored number is relied on.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a comment for a pull request (-: to standard output).")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML, a test case a number.")] = None,
    data: measuring.Data = None,
    data_root: measuring.DataRoot = None,
    download: measuring.Download = False,
    resize: measuring.Resize = None,
    crop: measuring.Crop = None,
    mean: measuring.Mean = None,
    std: measuring.Std = None,
    scale: measuring.Scale = None,
    output: measuring.Output = None,
    no_accuracy: measuring.NoAccuracy = False,
    provider: measuring.OfProvider = Provider.CPU,
    threads: measuring.Threads = "1",
    batch: measuring.Batch = "128",
    cores: measuring.Cores = None,
    budget: measuring.Budget = "20s",
    precision: measuring.Precision = "5%",
    sessions: measuring.Sessions = 8,
    energy: measuring.OfEnergy = Energy.QUICK,
    estimate_energy: EstimateEnergy = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what is measured again (default: below runs/).")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Compare two runs: what got worse, by more than chance and by more than a threshold.

    Exit code 0: same or better; 1: regressed; 2: inconclusive, as is all that is missing or too uncertain. Options from
    --data to --out are of --remeasure, and then as those of kdbench bench; the data is that of NEW unless it is named.

    Example: kdbench compare runs/main runs/branch --threshold latency_p50_ns=10% --markdown comment.md
    """
    if json and markdown == _STDOUT:
        raise InputError("--json and --markdown - both write to standard output", "give --markdown a file")
    for file, option in ((markdown, "--markdown"), (junit, "--junit")):
        if file is not None and file != _STDOUT:
            options.make_room(file, option)
    asked = {
        "models": _pairs(models or ()),
        "metrics": [name for text in metrics or () for name in options.names(text)],
        "thresholds": _thresholds(thresholds or ()),
    }
    folder = None
    if remeasure:
        settings = measuring.settings(
            provider=provider,
            threads=threads,
            batch=batch,
            cores=cores,
            budget=budget,
            precision=precision,
            sessions=sessions,
            energy=energy,
            estimate_energy=estimate_energy,
        )
        feeding = {
            "data": data,
            "data_root": data_root,
            "download": download,
            "resize": resize,
            "crop": crop,
            "mean": options.numbers(mean, "--mean") if mean else None,
            "std": options.numbers(std, "--std") if std else None,
            "scale": scale,
            "output": output,
            "accuracy": not no_accuracy,
        }
        session = Session.of(ctx)
        found, folder = _measured(session, base, new, quiet=quiet, options=settings, out=out, **asked, **feeding)
    else:
        _refuse_measuring(ctx)
        found = _stored(base, new, **asked)
    _write(found, markdown, junit)
    _show(found, folder, markdown, json=json)
    return found.exit_code


def _stored(base: Path, new: Path, **asked: Any) -> "Comparison":
    from kdbench.judge.compare import compare as compare_records
    from kdbench.report.content import read_samples
    from kdbench.results.records import RunRecord

    for path in (base, new):
        if path.suffix == ".onnx":
            raise InputError(f"{path} is a model, not a record", "add --remeasure to measure both models side by side")
    records = RunRecord.read(base), RunRecord.read(new)
    samples = [read_samples(path if path.is_dir() else path.parent) for path in (base, new)]
    return compare_records(*records, **asked, base_samples=samples[0], new_samples=samples[1])


def _measured(
    session: Session, base: Path, new: Path, *, quiet: bool, **options: Any
) -> "tuple[Comparison, Path | None]":
    from kdbench.cli.progress import watching

    with watching(session, quiet=quiet) as progress:
        from kdbench.workflows import remeasure

        return remeasure.remeasure(base, new, progress=progress, command=session.command, **options)


def _refuse_measuring(ctx: typer.Context) -> None:
    """Raise InputError for an option that would have no effect."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name not in _OF_COMPARING and source is not None and source.name == "COMMANDLINE":
            option = parameter.opts[0]
            raise InputError(
                f"{option} says how to measure, and stored records are not", "add --remeasure, or leave it out"
            )


def _pairs(texts: "list[str] | tuple[()]") -> Mapping[str, str]:
    """Read `NAME` and `BASE=NEW`; raises InputError where a base is to be two models."""
    named: dict[str, str] = {}
    for text in texts:
        base, sign, new = (part.strip() for part in text.partition("="))
        after = new if sign else base
        if named.setdefault(base, after) != after:
            raise InputError(f"--model names {base!r} twice: as {named[base]} and as {after}", "compare one at a time")
    return named


def _thresholds(texts: "list[str] | tuple[()]") -> Any:
    from kdbench.judge.comparing.thresholds import Thresholds

    return Thresholds.read(texts)


def _write(found: "Comparison", markdown: Path | None, junit: Path | None) -> None:
    from kdbench import storage

    if markdown is not None and markdown != _STDOUT:
        from kdbench.report import comparison

        storage.write_text(markdown, comparison.markdown(found))
    if junit is not None:
        from kdbench.report.junit import junit as document

        storage.write_text(junit, document(found))


def _show(found: "Comparison", folder: Path | None, markdown: Path | None, *, json: bool) -> None:
    from kdbench.report import comparison
    from kdbench.report.terminal import one_table

    if json:
        console.result_json({**found.to_json(), **({"folder": str(folder)} if folder else {})})
    elif markdown == _STDOUT:
        console.result(comparison.markdown(found).rstrip())
    else:
        if found.rows:
            console.result_drawn(one_table(comparison.comparison_table(found)))
        for remark in comparison.remarks(found):
            console.result(remark)
        console.result(comparison.verdict_line(found))
        if folder is not None:
            console.result(f"report: {folder / 'report.md'}")
